"""Packing: what arrives in the shards, and that a bad data set leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import CITYSCAPES_TRAIN_IDS
from pgpc.data import pack as pack_module
from pgpc.data.layouts import Item, Layout
from pgpc.data.pack import PackError, pack
from pgpc.data.shards import Shards, verify
from pgpc.data.transforms import decode_label


def write_gta5(root: Path, count: int = 5, width: int = 40, height: int = 32) -> dict[str, np.ndarray]:
    """Random images and labels in GTA5's layout; the raw labels by name."""
    rng, labels = np.random.default_rng(count), {}
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name = f"{number:05d}"
        labels[name] = rng.choice([0, 7, 11, 24, 26], (height, width)).astype(np.uint8)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
            root / f"images/{name}.png"
        )
        Image.fromarray(labels[name]).save(root / f"labels/{name}.png")
    return labels


def test_rows_hold_the_images_as_they_were_and_labels_as_train_ids(tmp_path: Path) -> None:
    raw = write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    shards = Shards.open(tmp_path / "out", "train")
    assert shards.names == sorted(raw)
    for row, name in enumerate(shards.names):
        assert shards.image_bytes(row) == (tmp_path / f"gta/images/{name}.png").read_bytes()
        expected = CITYSCAPES_TRAIN_IDS[raw[name]]
        assert np.array_equal(decode_label(shards.label_bytes(row)), expected)
        assert shards.class_pixels[row].tolist() == [(expected == c).sum() for c in range(19)]
    assert shards.sizes.tolist() == [[40, 32]] * 5


def test_the_manifest_adds_up(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    train = manifest["splits"]["train"]
    assert (manifest["version"], manifest["layout"], len(manifest["classes"])) == (2, "gta5", 19)
    assert (train["count"], train["labelled"]) == (5, 5)
    assert train["class_pixels"] == Shards.open(tmp_path / "out", "train").class_pixels.sum(0).tolist()
    (file,) = train["files"]
    assert file["name"] == "train-00000.arrow" and file["rows"] == 5
    assert (tmp_path / "out" / file["name"]).stat().st_size == file["size"]


def test_palette_labels_and_train_id_files_are_read(tmp_path: Path) -> None:
    raw = write_gta5(tmp_path / "gta", count=2)
    paletted = Image.fromarray(raw["00000"])
    paletted = Image.frombytes("P", paletted.size, paletted.tobytes())
    paletted.putpalette(list(range(255, -1, -1)) * 3)
    paletted.save(tmp_path / "gta/labels/00000.png")
    (tmp_path / "gta/labels/00001.png").unlink()
    Image.fromarray(CITYSCAPES_TRAIN_IDS[raw["00001"]]).save(tmp_path / "gta/labels/00001_labelTrainIds.png")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    shards = Shards.open(tmp_path / "out", "train")
    for row, name in enumerate(shards.names):
        assert np.array_equal(decode_label(shards.label_bytes(row)), CITYSCAPES_TRAIN_IDS[raw[name]])


def test_files_and_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gta5(tmp_path / "gta", count=7)
    pack("gta5", tmp_path / "gta", tmp_path / "one")
    shards = Shards.open(tmp_path / "one", "train")
    size = max(len(shards.image_bytes(i)) + len(shards.label_bytes(i)) for i in range(7))
    monkeypatch.setattr(pack_module, "MAX_FILE_BYTES", 3 * size)
    monkeypatch.setattr(pack_module, "_BATCH_BYTES", size + 1)
    pack("gta5", tmp_path / "gta", tmp_path / "many")
    files = json.loads((tmp_path / "many/manifest.json").read_text())["splits"]["train"]["files"]
    assert [file["name"] for file in files] == [f"train-{i:05d}.arrow" for i in range(3)]
    assert [file["rows"] for file in files] == [3, 3, 1]
    split = Shards.open(tmp_path / "many", "train")
    assert split.names == shards.names and np.array_equal(split.class_pixels, shards.class_pixels)
    assert all(split.image_bytes(i) == shards.image_bytes(i) for i in range(7))
    assert all(split.label_bytes(i) == shards.label_bytes(i) for i in range(7))


def test_all_problems_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    root = tmp_path / "gta"
    raw = write_gta5(root, count=6)
    (root / "images/00000.png").write_bytes((root / "images/00000.png").read_bytes()[:-400])
    (root / "labels/00001.png").write_bytes(b"no picture")
    Image.fromarray(raw["00002"][:-1]).save(root / "labels/00002.png")
    Image.fromarray(raw["00003"] + np.uint8(100)).save(root / "labels/00003.png")
    Image.fromarray(raw["00004"]).convert("RGB").save(root / "labels/00004.png")
    with pytest.raises(PackError) as caught:
        pack("gta5", root, tmp_path / "out")
    first, *problems = str(caught.value).splitlines()
    assert "5 of 6" in first
    for problem, (file, text) in zip(
        problems,
        [
            ("images/00000.png", "truncated"),
            ("labels/00001.png", "cannot identify"),
            ("labels/00002.png", "label is 40 x 31, its image is 40 x 32"),
            ("labels/00003.png", "[100, 107, 111, 124, 126]"),
            ("labels/00004.png", "mode is 'RGB'"),
        ],
        strict=True,
    ):
        assert file in problem and text in problem
    assert [path.name for path in tmp_path.iterdir()] == ["gta"]


def test_interrupted_packing_leaves_the_old_shards(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write_gta5(tmp_path / "gta", count=6)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=stop)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gta", "out"]


def test_shards_are_replaced_but_other_folders_are_not(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    write_gta5(tmp_path / "gta", count=6)
    progress = []
    pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=lambda *p: progress.append(p))
    assert len(Shards.open(tmp_path / "out", "train")) == 6
    assert progress == [(done, 6) for done in range(1, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gta", "out"]
    with pytest.raises(ValueError, match="holds images, labels"):
        pack("gta5", tmp_path / "gta", tmp_path / "gta")


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"splits train, val, but got \['trian'\]"):
        pack("cityscapes", tmp_path, tmp_path / "out", splits=["trian"])
    with pytest.raises(ValueError, match=r"but got \[\]"):
        pack("cityscapes", tmp_path, tmp_path / "out", splits=[])


def test_images_without_labels_are_packed_where_a_layout_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gta5(tmp_path / "gta", count=3)
    scan = Layout.scan

    def scan_some(self: Layout, root: Path, split: str) -> list[Item]:
        return [
            Item(item.name, item.image, item.label if i else None)
            for i, item in enumerate(scan(self, root, split))
        ]

    monkeypatch.setattr(Layout, "scan", scan_some)
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    shards = Shards.open(tmp_path / "out", "train")
    assert shards.num_labelled == 2
    assert shards.label_bytes(0) is None and shards.class_pixels[0].sum() == 0
    assert shards.label_bytes(1) is not None and shards.class_pixels[1].sum() > 0
    verify(tmp_path / "out")
