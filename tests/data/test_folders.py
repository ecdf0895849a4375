"""Finding the files of a data set: which are images, which labels belong to them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.layouts import ACDC, FOLDER, GTA5
from tests.helpers.data_sets import image_names, touch


def test_files_are_found_recursively_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "images/b/00002.png", "images/00001.PNG", "images/00003.png", "images/x.txt")
    touch(tmp_path, "images/.hidden.png", "images/.folder/00004.png", "images/._00001.png")
    touch(tmp_path, "labels/b/00002.png", "labels/00003_labelTrainIds.png")
    items = GTA5.scan(tmp_path, "train")
    assert [item.name for item in items] == ["00001", "00003", "b/00002"]
    assert [item.label for item in items] == [
        None,
        tmp_path / "labels/00003_labelTrainIds.png",
        tmp_path / "labels/b/00002.png",
    ]
    assert GTA5.needs_label("train")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "disk/1.png", "disk/deep/2.png", "root/labels/a/1.png", "root/images/keep")
    (tmp_path / "root/images/a").symlink_to(tmp_path / "disk")  # out of the root
    (tmp_path / "disk/deep/up").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/deep/root").symlink_to(tmp_path / "root/images")
    assert image_names(GTA5, tmp_path / "root", "train") == ["a/1", "a/deep/2"]
    (tmp_path / "root/images/b").symlink_to(tmp_path / "disk")  # twice, but in no circle
    assert [n for n in image_names(GTA5, tmp_path / "root", "train") if n.count("/") == 1] == ["a/1", "b/1"]


def test_links_to_nothing_are_problems(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "images/2.png", "labels/2.png")
    (tmp_path / "images/3.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "labels/1.png").symlink_to(tmp_path / "labels/1.png")  # to itself
    items = GTA5.scan(tmp_path, "train")
    assert [item.name for item in items] == ["1", "2", "3"]
    assert items[0].label is not None  # not the same as an image without a label
    with pytest.raises(ValueError, match="cannot be read"):
        GTA5.read_label(items[0].label)
    with pytest.raises(ValueError, match="link to nothing"):
        read_file(items[2].image)
    (tmp_path / "images/sequence").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match="sequence is a link to nothing. Mount"):
        GTA5.scan(tmp_path, "train")


def test_missing_folders_and_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in images below the root, but .*images is no folder"):
        GTA5.scan(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="rgb_anon/fog/val, .*rgb_anon/snow/val or rgb_anon/val below"):
        ACDC.scan(tmp_path, "val")
    touch(tmp_path, "images/1.jpg")
    with pytest.raises(ValueError, match="'.png', but no file below .*images does"):
        GTA5.scan(tmp_path, "train")


def test_names_are_unique(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/a.jpg", "images/b/a.png", "images/c.webp")
    with pytest.raises(ValueError, match=r"1 have the same: .*images/a.jpg and .*images/a.png\. Rename"):
        FOLDER.scan(tmp_path, "train")


def test_a_folder_with_splits_and_a_folder_without(data_set) -> None:
    made = data_set("folder")
    for file in ("a.png", "sub/b.JPG", "c ü.webp", "d.bmp", "e.Jpeg"):
        made.image(f"images/{file}")
    made.label("labels/sub/b.png", "train", "sub/b", range(19))
    items = FOLDER.scan(made.root, "train")
    assert [item.name for item in items] == ["a", "c ü", "d", "e", "sub/b"]
    assert [item.label is None for item in items] == [True, True, True, True, False]
    assert np.array_equal(FOLDER.read_label(items[-1].label), made.raw["train", "sub/b"])
    assert not FOLDER.needs_label("train") and FOLDER.classes == CITYSCAPES
    assert all(decode_image(read_file(item.image)).shape == (12, 16, 3) for item in items)
    with pytest.raises(FileNotFoundError, match="images/val below the root"):
        FOLDER.scan(made.root, "val")
    made.image("images/val/x.png")  # now there are splits, and none is "train"
    with pytest.raises(FileNotFoundError, match="images/train or images below the root"):
        FOLDER.scan(made.root, "train")
    assert image_names(FOLDER, made.root, "val") == ["x"]
    made.image("images/train/y.png")
    assert image_names(FOLDER, made.root, "train") == ["y"]
