"""Shards: reading without copying, and damage that is noticed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import verify
from pgpc.runtime import storage


def test_splits_are_opened_by_name(packed: Path) -> None:
    train, val = Shards.open(packed, "train"), Shards.open(packed, "val")
    assert (len(train), len(val)) == (4, 2)
    assert val.names == ["ulm/ulm_000000_000019", "ulm/ulm_000001_000019"]
    assert train.class_pixels.shape == (4, 19) and train.class_pixels.dtype == np.int64
    assert train.num_classes == 19 and train.classes.names[0] == "road"
    with pytest.raises(ShardError, match="has the splits train, val, but 'test'"):
        Shards.open(packed, "test")


def test_opening_maps_and_does_not_copy(packed: Path) -> None:
    before = pa.total_allocated_bytes()
    shards = Shards.open(packed, "train")
    pixels = shards.class_pixels
    assert pa.total_allocated_bytes() == before
    image = shards._table["image"][0].as_buffer()
    assert image.size == len(shards.image_bytes(0))
    assert pa.total_allocated_bytes() == before
    assert pixels[:, :3].sum() > 0


def test_pickles_are_small_and_open_again(packed: Path) -> None:
    shards = Shards.open(packed, "train")
    _ = shards.names, shards.class_pixels
    data = pickle.dumps(shards)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.names == shards.names and again.image_bytes(3) == shards.image_bytes(3)


def test_truncated_file(folder: Path) -> None:
    path = folder / "train-00000.arrow"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ShardError, match=f"truncated: {size - 100} bytes, the manifest says {size}. Pack"):
        Shards.open(folder, "train")
    Shards.open(folder, "val")
    with pytest.raises(ShardError, match="truncated"):
        verify(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "val-00000.arrow").unlink()
    with pytest.raises(ShardError, match="val-00000.arrow is missing"):
        Shards.open(folder, "val")


def test_damaged_footer(folder: Path) -> None:
    path = folder / "train-00000.arrow"
    data = bytearray(path.read_bytes())
    data[-60:] = bytes(60)
    path.write_bytes(data)
    with pytest.raises(ShardError, match="train-00000.arrow is damaged"):
        Shards.open(folder, "train")


def test_files_of_another_split_are_noticed(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"]["files"][0]["rows"] = 5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="do not add up"):
        Shards.open(folder, "train")
    manifest["splits"]["train"]["count"] = 5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="other rows or columns"):
        Shards.open(folder, "train")


@pytest.mark.parametrize("wrong", [1 << 60, -1, 0])
def test_damaged_offsets_are_noticed_when_opened(folder: Path, wrong: int) -> None:
    path = folder / "train-00000.arrow"
    data = bytearray(path.read_bytes())
    shards = Shards.open(folder, "train")
    sizes = [len(shards.image_bytes(i)) for i in range(4)]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64).tobytes()
    place = data.index(offsets) + (16 if wrong == 0 else 8)
    data[place : place + 8] = np.int64(wrong).tobytes()
    path.write_bytes(data)
    with pytest.raises(ShardError, match="train-00000.arrow is damaged: .*ffset"):
        Shards.open(folder, "train")
    with pytest.raises(ShardError, match="(?s)contents changed.*is damaged"):
        verify(folder)


def test_unlabeled_rows_are_noticed_where_labels_are_needed(tmp_path: Path) -> None:
    (tmp_path / "raw/images").mkdir(parents=True)
    Image.new("RGB", (40, 32)).save(tmp_path / "raw/images/a.png")
    pack("folder", tmp_path / "raw", tmp_path / "packed")
    with pytest.raises(ShardError, match="1 of 1 have none"):
        Shards.open(tmp_path / "packed", "train").check_labeled()


def test_shards_on_s3_are_downloaded_once_and_mapped(
    packed: Path, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, local = Shards.open(remote, "train"), Shards.open(packed, "train")
    assert shards.folder == remote and shards.names == local.names
    assert [shards.image_bytes(i) for i in range(4)] == [local.image_bytes(i) for i in range(4)]
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(storage, "download", lambda *_: pytest.fail("downloaded again"))
    again = pickle.loads(pickle.dumps(shards))
    assert again.label_bytes(3) == local.label_bytes(3)
    assert pa.total_allocated_bytes() == before
    assert len([path for path in (tmp_path / "cache/shards").iterdir() if path.suffix == ".arrow"]) == 1


def test_changes_on_s3_are_noticed(remote: str, packed: Path, tmp_path: Path) -> None:
    storage.upload(packed / "val-00000.arrow", f"{remote}/train-00000.arrow")
    with pytest.raises(ShardError, match=f"Shard {remote}/train-00000.arrow: the contents changed .* Pack"):
        Shards.open(remote, "train")
    storage.delete(f"{remote}/train-00000.arrow")
    with pytest.raises(ShardError, match=f"Shard {remote}/train-00000.arrow is missing"):
        Shards.open(remote, "train")
    with pytest.raises(ShardError, match=f"{remote}/nothing has none"):
        Shards.open(f"{remote}/nothing", "train")
    assert not list((tmp_path / "cache/shards").glob("*.arrow"))
