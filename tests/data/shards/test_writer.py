"""Rows as files of bounded size, and the notes on each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pgpc.data.shards import writer
from pgpc.data.shards.manifest import FileEntry, SkippedImage
from pgpc.data.shards.writer import FinishedFile, Row, SplitWriter
from pgpc.runtime.files import sha256


def row(name: str, *, size: int = 10, label: bytes | None = b"label", pixels: tuple[int, int] = (3, 0)) -> Row:
    return Row(name, bytes(size), label, 4, 5, np.array(pixels, dtype=np.int64))


def test_a_split_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", 30)
    noted: list[FinishedFile] = []
    split = SplitWriter(tmp_path, "val", 2, [], lambda path, entry: noted.append(entry) or entry)
    split.add(row("a"))
    split.skip("b", "b.png: it is empty")
    split.add(row("c", label=None, pixels=(0, 0)))
    split.add(row("d", pixels=(1, 1)))  # does not fit into the first file
    split.skip("e", "e.png: it is empty")
    entry, skipped = split.close()
    assert split.num_items == 5
    assert [(file.file.name, file.file.rows, file.items, file.labeled) for file in noted] == [
        ("val-00000.arrow", 2, 3, 1),
        ("val-00001.arrow", 1, 5, 1),
    ]
    assert [image.name for image in noted[0].skipped] == ["b"] and [image.name for image in skipped] == ["b", "e"]
    assert (entry.count, entry.labeled, entry.class_pixels, entry.class_images) == (3, 2, (4, 1), (2, 1))
    for file in entry.files:
        path = tmp_path / file.name
        assert (file.size, file.sha256) == (path.stat().st_size, sha256(path))
        assert pa.ipc.open_file(str(path)).read_all().num_rows == file.rows


def test_a_row_that_is_too_large_gets_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", 30)
    split = SplitWriter(tmp_path, "val", 2, [], lambda path, entry: entry)
    for name, size in (("a", 5), ("b", 100), ("c", 5)):
        split.add(row(name, size=size))
    assert [file.rows for file in split.close()[0].files] == [1, 1, 1]


def test_what_was_finished_before_is_counted_and_continued(tmp_path: Path) -> None:
    before = FinishedFile(
        split="val",
        file=FileEntry(name="val-00000.arrow", rows=2, size=9, sha256="0" * 64),
        items=3,
        labeled=2,
        class_pixels=(5, 5),
        class_images=(2, 2),
        skipped=(SkippedImage(split="val", name="x", problem="x.png: it is empty"),),
    )
    split = SplitWriter(tmp_path, "val", 2, [before], lambda path, entry: entry)
    assert split.num_items == 3
    split.add(row("d"))
    entry, skipped = split.close()
    assert [file.name for file in entry.files] == ["val-00000.arrow", "val-00001.arrow"]
    assert (entry.count, entry.labeled, entry.class_pixels) == (3, 3, (8, 5)) and [i.name for i in skipped] == ["x"]
    note = before.to_json()
    assert note["labelled"] == 2 and FinishedFile.from_json(json.loads(json.dumps(note))) == before
    with pytest.raises(ValueError):
        FinishedFile.from_json({**note, "file": {**note["file"], "name": "../a.arrow"}})


def test_what_on_file_returns_takes_the_place_of_the_entry(tmp_path: Path) -> None:
    def rename(path: Path, entry: FinishedFile) -> FinishedFile:
        file = FileEntry(name="other.arrow", rows=entry.file.rows, size=entry.file.size, sha256=entry.file.sha256)
        return FinishedFile(**{**{name: getattr(entry, name) for name in entry.__slots__}, "file": file})

    split = SplitWriter(tmp_path, "val", 2, [], rename)
    split.add(row("a"))
    assert [file.name for file in split.close()[0].files] == ["other.arrow"]
