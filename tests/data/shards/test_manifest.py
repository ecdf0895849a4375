"""The manifest of a folder of shards: what is written, what is read, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pgpc.classes import ClassSet
from pgpc.data.shards.manifest import (
    FileEntry,
    Manifest,
    ShardError,
    SkippedImage,
    SplitManifest,
    read_manifest,
    schema,
)
from pgpc.data.shards.reader import Shards

FILE = FileEntry(name="train-00000.arrow", rows=2, size=100, sha256="0a" * 32)
MANIFEST = Manifest(
    layout="folder",
    classes=ClassSet(("sky", "boat"), ((1, 2, 3), (4, 5, 6)), (1,)),
    fingerprint="f",
    skipped=(SkippedImage(split="train", name="b", problem="images/b.png: it is empty"),),
    splits={
        "train": SplitManifest(count=2, labeled=1, class_pixels=(7, 0), class_images=(1, 0), files=(FILE,)),
    },
)
JSON = {
    "version": 3,
    "layout": "folder",
    "classes": [
        {"name": "sky", "colour": [1, 2, 3], "thing": False},
        {"name": "boat", "colour": [4, 5, 6], "thing": True},
    ],
    "fingerprint": "f",
    "skipped": [{"split": "train", "name": "b", "problem": "images/b.png: it is empty"}],
    "splits": {
        "train": {
            "count": 2,
            "labelled": 1,
            "class_pixels": [7, 0],
            "class_images": [1, 0],
            "files": [{"name": "train-00000.arrow", "rows": 2, "size": 100, "sha256": "0a" * 32}],
        }
    },
}


def test_the_json_by_hand() -> None:
    assert json.dumps(MANIFEST.to_json()) == json.dumps(JSON)  # in this order
    assert Manifest.from_json(JSON) == MANIFEST
    assert MANIFEST.files() == [FILE]


def test_what_reading_does_without() -> None:
    split = {key: value for key, value in JSON["splits"]["train"].items() if key != "class_images"}
    least = Manifest.from_json({"classes": JSON["classes"], "splits": {"train": split}})
    assert (least.layout, least.fingerprint, least.skipped) == (None, None, None)
    assert least.splits["train"].class_images is None
    assert "class_images" not in least.splits["train"].to_json()
    assert Manifest.from_json({**JSON, "skipped": [{"split": "train"}]}).skipped is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("count", 3), ("files", []), ("class_pixels", [7]), ("class_pixels", [7, "0"]), ("labelled", None)],
)
def test_splits_that_do_not_add_up(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Manifest.from_json({**JSON, "splits": {"train": {**JSON["splits"]["train"], key: value}}})


def test_columns_hold_one_count_per_class() -> None:
    columns = schema(7)
    assert columns.names == ["name", "image", "label", "width", "height", "class_pixels"]
    assert columns.field("class_pixels").type.list_size == 7
    assert [field.name for field in columns if field.nullable] == ["label"]


def test_entries_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MANIFEST.layout = "gta5"


def test_a_folder_is_read_as_it_is_opened(packed: Path) -> None:
    manifest = read_manifest(packed)
    assert manifest.layout == "cityscapes" and list(manifest.splits) == ["train", "val"]
    assert manifest.to_json() == json.loads((packed / "manifest.json").read_text())


def test_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="manifest.json, but .* has none. Pack"):
        Shards.open(tmp_path, "train")


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"{}", b"\xff", b'{"version": 3, "classes": [{"name": "a"}], "splits": []}']
)
def test_damaged_manifest(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ShardError, match="manifest.json is damaged"):
        Shards.open(folder, "train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../a.arrow"),
        ("name", None),
        ("sha256", "../a"),
        ("size", "1"),
        ("rows", True),
        ("rows", -1),
    ],
)
def test_damaged_entry_of_a_file(folder: Path, key: str, value: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["splits"]["train"]["files"][0][key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ShardError, match="manifest.json is damaged"):
        Shards.open(folder, "train")


def test_another_version(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(ShardError, match="must be of version 3, .* says 2"):
        Shards.open(folder, "train")
