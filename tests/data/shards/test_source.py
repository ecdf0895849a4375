"""The data set that is packed: its images, fingerprint and rows."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import CITYSCAPES_TRAIN_IDS
from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.data.layouts.driving import CITYSCAPES, GTA5
from pgpc.data.layouts.known import FOLDER, find_layout
from pgpc.data.shards import writer
from pgpc.data.shards.source import PackSource
from pgpc.data.shards.writer import Row
from tests.helpers.data_sets import touch, write_folder, write_gta5


def test_all_splits_that_exist_or_those_that_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    source = PackSource.scan(FOLDER, tmp_path, None)
    assert {split: len(items) for split, items in source.items.items()} == {"train": 3, "test": 1}
    assert source.num_images == 4
    assert list(PackSource.scan(FOLDER, tmp_path, ["test", "test"]).items) == ["test"]
    with pytest.raises(FileNotFoundError, match="'val' split"):
        PackSource.scan(FOLDER, tmp_path, ["val"])
    with pytest.raises(FileNotFoundError, match="'train' split"):
        PackSource.scan(CITYSCAPES, tmp_path, None)


def test_the_fingerprint_changes_with_all_that_the_shards_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gta5(tmp_path, count=2)

    def fingerprint() -> str:
        return PackSource.scan(GTA5, tmp_path, None).fingerprint()

    seen = {fingerprint()}
    assert seen == {fingerprint()}
    os.utime(tmp_path / "labels/00000.png", (1, 1))
    seen.add(fingerprint())
    (tmp_path / "labels/00001.png").unlink()
    seen.add(fingerprint())
    (tmp_path / "images/00001.png").rename(tmp_path / "images/00002.png")
    seen.add(fingerprint())
    with monkeypatch.context() as patch:
        patch.setattr(writer, "MAX_FILE_BYTES", 5)
        seen.add(fingerprint())
    source = PackSource.scan(GTA5, tmp_path, None)
    ids = source.layout.raw_ids.copy()
    ids[7] = 3
    seen.add(dataclasses.replace(source, layout=dataclasses.replace(GTA5, raw_ids=ids)).fingerprint())
    assert len(seen) == 6


def test_a_row_holds_the_image_and_its_train_ids(tmp_path: Path) -> None:
    raw = write_gta5(tmp_path, count=1)
    source = PackSource.scan(GTA5, tmp_path, None)
    row = source.read_row("train", source.items["train"][0])
    assert isinstance(row, Row) and (row.name, row.width, row.height) == ("00000", 40, 32)
    expected = CITYSCAPES_TRAIN_IDS[raw["00000"]]
    assert np.array_equal(decode_label(row.label), expected) and decode_image(row.image).shape == (32, 40, 3)
    assert row.class_pixels.tolist() == [(expected == k).sum() for k in range(19)]


def test_a_row_that_cannot_be_packed_is_a_line_with_its_file(tmp_path: Path) -> None:
    write_gta5(tmp_path, count=2)
    (tmp_path / "images/00000.png").write_bytes(b"")
    (tmp_path / "labels/00001.png").unlink()
    source = PackSource.scan(GTA5, tmp_path, None)
    first, second = (source.read_row("train", item) for item in source.items["train"])
    assert first.startswith("images/00000.png: ") and "empty" in first
    assert second == "images/00001.png: its label file is missing, which split 'train' needs"


def test_labels_without_an_image_are_named(tmp_path: Path) -> None:
    write_gta5(tmp_path, count=2)
    (tmp_path / "images/00001.png").unlink()
    (lonely,) = PackSource.scan(GTA5, tmp_path, None).lonely_labels()
    assert (lonely.split, lonely.name) == ("train", "labels/00001.png")
    assert lonely.problem == "labels/00001.png: its image is missing"


def _photo(root: Path, name: str, orientation: int, label: np.ndarray) -> None:
    """A photo that EXIF says to turn, with a label."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32)).save(root / f"images/train/{name}.jpg", exif=exif)
    Image.fromarray(label).save(root / f"labels/train/{name}.png")


def test_labels_lie_as_photos_are_shown_or_as_they_are_stored(tmp_path: Path) -> None:
    stored = np.arange(40 * 32).reshape(32, 40).astype(np.uint8) % 19
    for orientation in (1, 3):
        _photo(tmp_path, f"{orientation}", orientation, stored)
    for lie, expected in (("upright", stored), ("stored", stored[::-1, ::-1])):
        source = PackSource.scan(FOLDER, tmp_path, None, labels_lie=lie)
        plain, turned = (source.read_row("train", item) for item in source.items["train"])
        assert isinstance(turned, Row) and isinstance(plain, Row)
        assert np.array_equal(decode_label(turned.label), expected) and np.array_equal(
            decode_label(plain.label), stored
        )
        assert (plain.totals.turned_images, turned.totals.turned_images) == (0, 1)
        assert turned.totals.pixels == stored.size


def test_sizes_that_exif_explains_name_it(tmp_path: Path) -> None:
    stored = np.zeros((32, 40), dtype=np.uint8)
    _photo(tmp_path, "a", 6, stored)
    (item,) = PackSource.scan(FOLDER, tmp_path, None).items["train"]
    problem = PackSource.scan(FOLDER, tmp_path, None).read_row("train", item)
    assert "label is 40 x 32, its image is 32 x 40. EXIF orientation 6" in problem and "--label-orientation" in problem
    row = PackSource.scan(FOLDER, tmp_path, None, labels_lie="stored").read_row("train", item)
    assert isinstance(row, Row) and (row.width, row.height) == (32, 40)
    _photo(tmp_path, "a", 6, stored.T.copy())
    assert "stored, and turned with it" in PackSource.scan(FOLDER, tmp_path, None, labels_lie="stored").read_row(
        "train", item
    )


def test_a_picture_that_is_too_narrow_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (10_000, 3)).save(tmp_path / "images/a.png")
    source = PackSource.scan(FOLDER, tmp_path, None)
    assert source.read_row("train", source.items["train"][0]).startswith("images/a.png: a side of a picture must be at")


def test_names_that_two_images_have_are_problems_of_these(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "a.bmp", "b.png"):
        Image.new("RGB", (40, 32)).save(tmp_path / "images" / name)
    source = PackSource.scan(FOLDER, tmp_path, None)
    *same, other = (source.read_row("train", item) for item in source.items["train"])
    assert same[0].startswith("images/a.bmp: its name without its suffix is also that of images/a.png. Rename")
    assert same[1].startswith("images/a.png: ") and isinstance(other, Row)


def test_images_that_are_named_as_labels_are_and_labels_that_are_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}.png" for name in ("a", "a_mask", "b", "b_mask", "c")), "masks/a.png")
    source = PackSource.scan(FOLDER, tmp_path, None)
    beside, elsewhere = source.notes(source.unused())
    assert beside.startswith("2 images of split 'train' are named as another image and '_mask'.")
    assert elsewhere.startswith("No image has a label. Labels are looked for in labels/")
    only = PackSource.scan(find_layout("folder", image_suffixes=["c.png"]), tmp_path, None)
    assert [file.name for file in only.unused()] == ["a.png", "a_mask.png", "b.png", "b_mask.png", "a.png"]


def test_images_that_are_trained_on_and_scored_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.png", "images/train/b.png")
    (tmp_path / "images/train/b.png").write_bytes(b"another one")
    (tmp_path / "images/val").symlink_to(tmp_path / "images/train")
    (note,) = PackSource.scan(FOLDER, tmp_path, None).notes([])
    assert note.startswith("2 images of other splits are images of split 'train', too, byte for byte, such as ")
    assert "images/val/a.png and images/train/a.png: scores on them" in note
    assert PackSource.scan(FOLDER, tmp_path, ["train"]).notes([]) == []


def test_what_another_split_uses_is_not_unused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert PackSource.scan(FOLDER, tmp_path, ["test"]).unused() == []


def test_lists_of_images(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    (tmp_path / "train.txt").write_text("\ufeffa\r\n\r\nb.png\n", encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    source = PackSource.scan(FOLDER, tmp_path, None, lists={"train": tmp_path / "train.txt"})
    assert [item.name for item in source.items["train"]] == ["a", "b"]
    assert [file.name for file in source.unused()] == ["c.png"]
    for layout, splits, text in ((GTA5, None, "layout 'folder'"), (FOLDER, ["train"], "splits train")):
        with pytest.raises(ValueError, match=text):
            PackSource.scan(layout, tmp_path, splits, lists={"train": tmp_path / "train.txt"})
    with pytest.raises(ValueError, match="empty.txt is empty"):
        PackSource.scan(FOLDER, tmp_path, None, lists={"train": tmp_path / "empty.txt"})


def test_the_fingerprint_changes_with_how_labels_lie_and_with_colors(tmp_path: Path) -> None:
    write_folder(tmp_path)
    plain = PackSource.scan(FOLDER, tmp_path, None)
    assert plain.fingerprint() != PackSource.scan(FOLDER, tmp_path, None, labels_lie="stored").fingerprint()

    def described(**changes: object) -> str:
        classes = [{"name": "ground", "color": [1, 1, 1]}, {"name": "tree", "ids": [70]}]
        (tmp_path / "classes.json").write_text(json.dumps({"classes": classes, **changes}))
        return PackSource.scan(find_layout("folder", tmp_path / "classes.json"), tmp_path, None).fingerprint()

    assert len({described(), described(labels="colors"), described(ignore=[[0, 0, 0]])}) == 3
    assert described() == described(labels="ids"), "shards of earlier releases are up to date"
