"""Checks that read all of a folder of shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import changed_files, verify
from pgpc.runtime import storage


def test_intact_shards_verify(packed: Path) -> None:
    progress = []
    verify(packed, lambda *p: progress.append(p))
    assert progress == [(done, 6) for done in range(1, 7)]


def test_one_flipped_bit_in_an_image_is_found_by_verify(folder: Path) -> None:
    path = folder / "train-00000.arrow"
    data = bytearray(path.read_bytes())
    image = Shards.open(folder, "train").image_bytes(2)
    data[data.index(image) + len(image) // 2] ^= 1
    path.write_bytes(data)
    Shards.open(folder, "train")  # not looked at when opened
    with pytest.raises(ShardError) as caught:
        verify(folder)
    assert "train-00000.arrow: the contents changed" in str(caught.value)


def test_verify_adds_up_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["val"]["labelled"] = 1
    manifest["splits"]["train"]["class_pixels"][2] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="(?s)class_pixels of split 'train' .*labelled of split 'val'"):
        verify(folder)


def test_shards_on_s3_verify_without_the_cache(remote: str, packed: Path, tmp_path: Path) -> None:
    Shards.open(remote, "val")
    progress = []
    verify(remote, lambda *p: progress.append(p))
    assert progress == [(done, 6) for done in range(1, 7)]
    data = bytearray((packed / "val-00000.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    storage.upload(tmp_path / "damaged", f"{remote}/val-00000.arrow")
    storage.delete(f"{remote}/train-00000.arrow")
    with pytest.raises(ShardError, match="(?s)train-00000.arrow is missing.*val-00000.arrow: the contents changed"):
        verify(remote)


def test_changed_files_are_listed_unless_they_are_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed_files(folder) == []
    path = folder / "val-00000.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (line,) = changed_files(folder)
    assert line.startswith(f"{path}: the contents changed")
    total = sum(file.stat().st_size for file in folder.glob("*.arrow"))
    assert changed_files(folder, max_bytes=total) == [line] and changed_files(folder, max_bytes=total - 1) == []
    assert changed_files("s3://bucket/nothing") == []


def test_numbers_that_an_earlier_release_did_not_count_are_not_missed(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for split in manifest["splits"].values():
        del split["class_images"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    verify(folder)
    manifest["splits"]["train"]["class_images"] = [0] * 19
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="manifest.json: class_images of split 'train'"):
        verify(folder)
