"""Layouts: which files they find, which ids they know, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CLASSES, IGNORE_INDEX
from pgpc.data.layouts import CITYSCAPES, GTA5, LAYOUTS, layout


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_gta5_is_found_recursively_and_sorted(tmp_path: Path) -> None:
    _touch(tmp_path, "images/b/00002.png", "images/00001.png", "images/00003.png", "images/.hidden.png")
    _touch(
        tmp_path, "labels/b/00002.png", "labels/00001.png", "labels/00003_labelTrainIds.png", "images/x.txt"
    )
    items = GTA5.scan(tmp_path, "train")
    assert [item.name for item in items] == ["00001", "00003", "b/00002"]
    assert [item.label.relative_to(tmp_path).as_posix() for item in items] == [
        "labels/00001.png", "labels/00003_labelTrainIds.png", "labels/b/00002.png",
    ]  # fmt: skip


def test_raw_labels_are_preferred_to_train_ids_beside_them(tmp_path: Path) -> None:
    _touch(tmp_path, "images/1.png", "labels/1.png", "labels/1_labelTrainIds.png")
    assert GTA5.scan(tmp_path, "train")[0].label == tmp_path / "labels/1.png"


def test_cityscapes_takes_each_split_from_its_folder(tmp_path: Path) -> None:
    for split, city, ids in (("train", "aachen", "labelIds"), ("val", "ulm", "labelTrainIds")):
        stem = f"{city}/{city}_000000_000019"
        _touch(
            tmp_path, f"leftImg8bit/{split}/{stem}_leftImg8bit.png", f"gtFine/{split}/{stem}_gtFine_{ids}.png"
        )
    for split, city in (("train", "aachen"), ("val", "ulm")):
        (item,) = CITYSCAPES.scan(tmp_path, split)
        assert item.name == f"{city}/{city}_000000_000019"
        assert item.image.is_file() and item.label.is_file()


def test_folders_that_are_links_are_searched(tmp_path: Path) -> None:
    _touch(tmp_path, "disk/1.png", "root/labels/a/1.png", "root/images/keep")
    (tmp_path / "root/images/a").symlink_to(tmp_path / "disk")
    assert [item.name for item in GTA5.scan(tmp_path / "root", "train")] == ["a/1"]


def test_raw_ids_become_train_ids() -> None:
    raw = np.array([[c.cityscapes_id for c in CLASSES] + [0, 34, 255]], dtype=np.uint8)
    expected = [*range(19), IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]
    assert GTA5.train_ids(raw, Path("1.png")).tolist() == [expected]


def test_train_id_files_are_taken_as_they_are() -> None:
    ids = np.array([[0, 18, 255]], dtype=np.uint8)
    assert CITYSCAPES.train_ids(ids, Path("x_gtFine_labelTrainIds.png")).tolist() == ids.tolist()
    with pytest.raises(ValueError, match=r"train ids .* \[19\]"):
        CITYSCAPES.train_ids(ids + np.uint8(1), Path("x_gtFine_labelTrainIds.png"))


def test_unknown_raw_ids_are_named() -> None:
    with pytest.raises(ValueError, match=r"raw ids that layout 'gta5' does not define: \[35, 200\]"):
        GTA5.train_ids(np.array([[200, 7, 35]], dtype=np.uint8), Path("1.png"))


def test_unknown_names_list_the_known_ones() -> None:
    assert layout("gta5") is LAYOUTS["gta5"]
    with pytest.raises(ValueError, match="gta5, cityscapes, but got 'kitti'"):
        layout("kitti")
    with pytest.raises(ValueError, match=r"'gta5' has the splits train, but got \['val'\]"):
        GTA5.scan(".", "val")


def test_missing_folder_images_and_labels(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="images is no folder"):
        GTA5.scan(tmp_path, "train")
    _touch(tmp_path, "images/1.jpg", "labels/other")
    with pytest.raises(ValueError, match="no file below .*images does"):
        GTA5.scan(tmp_path, "train")
    _touch(tmp_path, "images/1.png", "images/2.png", "labels/1.png")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 have none: 2\."):
        GTA5.scan(tmp_path, "train")
