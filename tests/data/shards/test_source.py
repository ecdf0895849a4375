"""The data set that is packed: its images, fingerprint and rows."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES_TRAIN_IDS
from pgpc.data.image_files import decode_image, decode_label
from pgpc.data.layouts import CITYSCAPES, FOLDER, GTA5
from pgpc.data.shards import writer
from pgpc.data.shards.source import PackSource
from pgpc.data.shards.writer import Row
from tests.helpers.data_sets import write_folder, write_gta5


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
