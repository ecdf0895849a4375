"""Finding the files of a data set: which are images, which labels belong to them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.layouts.driving import ACDC, GTA5
from pgpc.data.layouts.known import FOLDER, find_layout
from pgpc.data.layouts.labels import read_label
from pgpc.data.layouts.leftovers import repeated, unused
from pgpc.data.layouts.scan import scan, scan_listed
from tests.helpers.data_sets import image_names, touch


def test_files_are_found_recursively_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "images/b/00002.png", "images/00001.PNG", "images/00003.png", "images/x.txt")
    touch(tmp_path, "images/.hidden.png", "images/.folder/00004.png", "images/._00001.png")
    touch(tmp_path, "labels/b/00002.png", "labels/00003_labelTrainIds.png")
    items = scan(GTA5, tmp_path, "train")
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


def test_images_of_the_train_split_in_another_one(tmp_path: Path) -> None:
    """Copies under any name, and links, but not pictures that only have one size or one beginning."""
    for name, text in (("train/a", "same"), ("train/b", "link"), ("train/c", "x" * 5000 + "1"), ("train/d", "long!")):
        touch(tmp_path, f"images/{name}.png")
        (tmp_path / f"images/{name}.png").write_text(text)
    touch(tmp_path, "images/val/1.png", "images/val/3.png", "images/test/4.png")
    for name, text in (("val/1", "same"), ("val/3", "x" * 5000 + "2"), ("test/4", "other")):
        (tmp_path / f"images/{name}.png").write_text(text)
    (tmp_path / "images/val/2.png").symlink_to(tmp_path / "images/train/b.png")
    (tmp_path / "images/val/5.png").symlink_to(tmp_path / "gone.png")
    items = {split: scan(FOLDER, tmp_path, split) for split in ("train", "val", "test")}
    found = [tuple(str(file.relative_to(tmp_path / "images")) for file in pair) for pair in repeated(items)]
    assert found == [("train/a.png", "val/1.png"), ("train/b.png", "val/2.png")]
    assert repeated({"train": items["train"]}) == repeated({"val": items["val"]}) == []


def test_links_to_nothing_are_problems(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "images/2.png", "labels/2.png")
    (tmp_path / "images/3.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "labels/1.png").symlink_to(tmp_path / "labels/1.png")  # to itself
    items = scan(GTA5, tmp_path, "train")
    assert [item.name for item in items] == ["1", "2", "3"]
    assert items[0].label is not None  # not the same as an image without a label
    with pytest.raises(ValueError, match="cannot be read"):
        read_label(GTA5, items[0].label)
    with pytest.raises(ValueError, match="link to nothing"):
        read_file(items[2].image)
    (tmp_path / "images/sequence").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match="sequence is a link to nothing. Mount"):
        scan(GTA5, tmp_path, "train")


def test_missing_folders_and_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in images below the root, but .*images is no folder"):
        scan(GTA5, tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="rgb_anon/fog/val, .*rgb_anon/snow/val or rgb_anon/val below"):
        scan(ACDC, tmp_path, "val")
    touch(tmp_path, "images/1.jpg")
    with pytest.raises(ValueError, match="'.png', but no file below .*images does"):
        scan(GTA5, tmp_path, "train")


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("training", "validation"), r"training \(1 picture\) and validation"),
        (("train", "valid"), "valid"),
        (("sub",), "sub"),
    ],
)
def test_folders_beside_those_of_the_splits_are_refused(tmp_path: Path, folders: tuple[str, ...], told: str) -> None:
    """They would be left out, or, where there is no split, be trained on."""
    touch(tmp_path, *(f"images/{folder}/a.png" for folder in folders), "images/notes/x.txt")
    with pytest.raises(ValueError, match=rf"be train, val, test, .*/images has {told} \(1 picture\)\. Ren") as error:
        scan(FOLDER, tmp_path, "train")
    assert "--split-file" in str(error.value) and "notes" not in str(error.value)


def test_a_layout_without_splits_refuses_a_folder_that_is_called_as_one(tmp_path: Path) -> None:
    touch(tmp_path, "images/a/1.png", "images/val/2.png")
    with pytest.raises(ValueError, match=r"takes all images below images/ for its .train. split, .*/val\."):
        scan(GTA5, tmp_path, "train")


def test_labels_of_which_none_is_of_an_image_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.png", "images/train/b.png", "labels/train/a_mask.png", "labels/train/b_mask.png")
    with pytest.raises(ValueError, match=r"none of the 2 files .* labels/train/a_mask.png .*--label-suffix _mask.png"):
        scan(FOLDER, tmp_path, "train")
    masks = find_layout("folder", label_suffixes=["_mask.png"])
    assert [item.label.name for item in scan(masks, tmp_path, "train")] == ["a_mask.png", "b_mask.png"]
    touch(tmp_path, "labels/train/a.png")
    assert [item.label is None for item in scan(FOLDER, tmp_path, "train")] == [False, True]


def test_suffixes_tell_images_from_labels_beside_them(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a_rgb.png", "images/train/a_seg.png", "labels/train/a_seg.png", "images/train/b.tif")
    own = find_layout("folder", image_suffixes=["_rgb.png", ".tif"], label_suffixes=["_seg.png"])
    (first, second) = scan(own, tmp_path, "train")
    assert (first.name, first.label.parent.parent.name, second.name) == ("a", "labels", "b")
    with pytest.raises(ValueError, match="suffix of labels is for layout 'folder', but got"):
        find_layout("gta5", label_suffixes=["_mask.png"])
    with pytest.raises(ValueError, match="must not be empty"):
        find_layout("folder", image_suffixes=[""])


def test_what_is_not_used_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.png", "images/train/b.jp2", "images/c.jpg", "labels/train/a.png")
    touch(tmp_path, "labels/train/z.png", "masks/a.png", "top.gif", "notes.txt", "masks/.d.png")
    left = unused(FOLDER, tmp_path, scan(FOLDER, tmp_path, "train"))
    assert [file.relative_to(tmp_path).as_posix() for file in left] == [
        *("images/c.jpg", "images/train/b.jp2", "labels/train/z.png", "masks/a.png", "top.gif"),
    ]
    acdc = tmp_path / "acdc"
    touch(acdc, "rgb_anon/fog/train/a_rgb_anon.png", "rgb_anon/fog/train_ref/a_rgb_ref_anon.png", "gt/a_color.png")
    assert [file.name for file in unused(ACDC, acdc, scan(ACDC, acdc, "train"))] == ["a_rgb_ref_anon.png"]


def test_lists_say_which_images_a_split_has(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/deep/b.jpg", "images/deep/c.jpg", "labels/deep/b.png")
    lists = {"train": ["deep/b", "images/a.png"], "val": ["deep/c.jpg"]}
    items = scan_listed(FOLDER, tmp_path, lists)
    assert {split: [item.name for item in found] for split, found in items.items()} == {
        "train": ["a", "deep/b"],
        "val": ["deep/c"],
    }
    assert [item.label is None for item in items["train"]] == [True, False]
    assert unused(FOLDER, tmp_path, [*items["train"]]) == [tmp_path / "images/deep/c.jpg"]
    for wrong, text in (
        ({"train": ["a", "b"]}, "with or without that ending, but 'b' of split 'train' is none"),
        ({"train": ["a"], "val": ["a.png"]}, "a.png is listed for 'train' and for 'val'"),
        ({"dev": ["a"]}, "has the splits train, val, test, but got dev"),
    ):
        with pytest.raises(ValueError, match=text):
            scan_listed(FOLDER, tmp_path, wrong)


def test_a_folder_with_splits_and_a_folder_without(data_set) -> None:
    made = data_set("folder")
    for file in ("a.png", "b.JPG", "c ü.webp", "d.bmp", "e.Jpeg"):
        made.image(f"images/{file}")
    made.label("labels/b.png", "train", "b", range(19))
    items = scan(FOLDER, made.root, "train")
    assert [item.name for item in items] == ["a", "b", "c ü", "d", "e"]
    assert [item.label is None for item in items] == [True, False, True, True, True]
    assert np.array_equal(read_label(FOLDER, items[1].label).ids, made.raw["train", "b"])
    assert not FOLDER.needs_label("train") and FOLDER.classes == CITYSCAPES
    assert all(decode_image(read_file(item.image)).shape == (12, 16, 3) for item in items)
    with pytest.raises(FileNotFoundError, match="images/val below the root"):
        scan(FOLDER, made.root, "val")
    made.image("images/val/x.png")  # now there are splits, and none is "train"
    with pytest.raises(FileNotFoundError, match="images/train or images below the root"):
        scan(FOLDER, made.root, "train")
    assert image_names(FOLDER, made.root, "val") == ["x"]
    made.image("images/train/sub/y.png")
    assert image_names(FOLDER, made.root, "train") == ["sub/y"]
