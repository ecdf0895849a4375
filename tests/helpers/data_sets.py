"""Small data sets in the exact layouts of the real ones."""

from __future__ import annotations

import io
import json
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pgpc.data.layouts.aerial import ISPRS_CLASSES
from pgpc.data.layouts.layout import Layout
from pgpc.data.layouts.scan import scan
from pgpc.data.shards.pack import pack
from pgpc.data.streets.config import StreetsConfig
from tests.helpers.pngs import palette, png
from tests.helpers.tiffs import tiff

WIDTH, HEIGHT = 16, 12


@dataclass
class DataSet:
    """A data set on disk: its root, and by split and name of an image the raw ids of its label."""

    root: Path
    raw: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def put(self, file: str, data: bytes = b"") -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def image(self, file: str) -> None:
        rng = np.random.default_rng(zlib.crc32(file.encode()))
        encoded = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(
            encoded, {".jpg": "jpeg", ".webp": "webp", ".bmp": "bmp"}.get(Path(file).suffix.lower(), "png")
        )
        self.put(file, encoded.getvalue())

    def label(self, file: str, split: str, name: str, ids: range, encode: Callable[[np.ndarray], bytes] = png) -> None:
        rng = np.random.default_rng(zlib.crc32(file.encode()))
        self.raw[split, name] = rng.choice(ids, (HEIGHT, WIDTH))
        self.put(file, encode(self.raw[split, name]))


def _synthia_label(ids: np.ndarray) -> bytes:
    instances = np.arange(ids.size).reshape(ids.shape) * 257
    return png(np.stack([ids, instances, instances * 0], axis=2), depth=16, color=2)


def _gta5(made: DataSet) -> None:
    for name in ("00001", "00002", "00003"):
        made.image(f"images/{name}.png")
        made.label(f"labels/{name}.png", "train", name, range(35), lambda ids: png(ids, color=3, extra=palette()))


def _synthia(made: DataSet) -> None:
    for name in ("0000000", "0000001"):
        made.image(f"RGB/{name}.png")
        made.label(f"GT/LABELS/{name}.png", "train", name, range(23), _synthia_label)
        made.put(f"GT/COLOR/{name}.png")
        made.put(f"Depth/Depth/{name}.png")


def _cityscapes(made: DataSet) -> None:
    for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "lindau"), ("test", "berlin")):
        for number in (19, 20):
            stem = f"{city}/{city}_000000_{number:06d}"
            made.image(f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
            label = f"gtFine/{split}/{stem}_gtFine"
            for other in ("color.png", "instanceIds.png", "polygons.json"):
                made.put(f"{label}_{other}")
            if split == "test":
                made.put(f"{label}_labelIds.png", png(np.zeros((HEIGHT, WIDTH), dtype=int)))
            else:
                made.label(f"{label}_labelIds.png", split, stem, [*range(34), 255])


def _dark_zurich(made: DataSet) -> None:
    for split, sequence in (("train", "GOPR0351"), ("val", "GOPR0356"), ("test", "GOPR0364")):
        for time in ("night", "day") if split == "train" else ("night",):
            stem = f"{time}/{sequence}/{sequence}_frame_000001"
            made.image(f"rgb_anon/{split}/{stem}_rgb_anon.png")
            if split == "val":
                made.label(f"gt/val/{stem}_gt_labelIds.png", split, stem, [*range(34), 255])
    made.image("rgb_anon/val_ref/day/GOPR0356_ref/GOPR0356_frame_000001_ref_rgb_anon.png")


def _acdc(made: DataSet) -> None:
    for weather in ("fog", "night", "rain", "snow"):
        for split, sequence in (("train", "GOPR0475"), ("val", "GOPR0476"), ("test", "GOPR0477")):
            stem = f"{sequence}/{sequence}_frame_000041"
            made.image(f"rgb_anon/{weather}/{split}/{stem}_rgb_anon.png")
            made.image(f"rgb_anon/{weather}/{split}_ref/{stem}_rgb_ref_anon.png")
            if split != "test":
                label = f"gt/{weather}/{split}/{stem}_gt"
                made.label(f"{label}_labelIds.png", split, f"{weather}/{stem}", [*range(34), 255])
                made.put(f"{label}_labelColor.png")
                made.put(f"{label}_invIds.png")


def _bdd100k(made: DataSet) -> None:
    """Day and night by the lists of the boxes; one image has no list, and one was taken at dusk."""
    times = {"train": ("daytime", "night", "dawn/dusk", None), "val": ("daytime", "night")}
    for split, found in times.items():
        entries = []
        for number, time in enumerate(found):
            name = f"{split}{number}"
            made.image(f"images/10k/{split}/{name}.jpg")
            made.label(f"labels/sem_seg/masks/{split}/{name}.png", split, f"10k/{name}", [*range(19), 255])
            made.put(f"labels/sem_seg/colormaps/{split}/{name}.png")
            if time is not None:
                entries.append({"name": f"{name}.jpg", "attributes": {"weather": "clear", "timeofday": time}})
        for number, time in enumerate(("daytime", "night")):
            made.image(f"images/100k/{split}/other{number}.jpg")
            entries.append({"name": f"other{number}.jpg", "attributes": {"timeofday": time}, "labels": []})
        made.put(f"labels/det_20/det_{split}.json", json.dumps(entries).encode())
    made.image("images/10k/test/test0.jpg")


def _loveda(made: DataSet) -> None:
    for split in ("Train", "Val", "Test"):
        for number, scene in enumerate(("Rural", "Urban")):
            made.image(f"{split}/{scene}/images_png/{number}.png")
            if split != "Test":
                name = f"{scene}/{number}"
                made.label(f"{split}/{scene}/masks_png/{number}.png", split.lower(), name, range(8))


def _isprs_label(made: DataSet, file: str, split: str, name: str, *, bounded: bool) -> None:
    """Write a label of colors; its ids are kept as raw ids, 255 for boundaries, which are black."""
    rng = np.random.default_rng(zlib.crc32(file.encode()))
    ids = rng.choice([*range(6), *([] if bounded else [255])], (HEIGHT, WIDTH))
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:6] = ISPRS_CLASSES.colors
    made.raw[split, name] = ids
    made.put(file, tiff(palette[ids], compression="lzw"))


def _potsdam(made: DataSet) -> None:
    for split, place in (("train", "2_10"), ("train", "7_12"), ("val", "2_13")):
        rng, stem = np.random.default_rng(zlib.crc32(place.encode())), f"top_potsdam_{place}"
        for folder, bands in (("2_Ortho_RGB", "RGB"), ("3_Ortho_IRRG", "IRRG"), ("4_Ortho_RGBIR", "RGBIR")):
            channels = 4 if bands == "RGBIR" else 3
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)
            made.put(f"{folder}/{stem}_{bands}.tif", tiff(pixels))
            made.put(f"{folder}/{stem}_{bands}.tfw")
        _isprs_label(made, f"5_Labels_all/{stem}_label.tif", split, stem, bounded=True)


def _vaihingen(made: DataSet) -> None:
    for split, area in (("train", 1), ("train", 37), ("val", 2)):
        stem = f"top_mosaic_09cm_area{area}"
        pixels = np.random.default_rng(area).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        made.put(f"top/{stem}.tif", tiff(pixels))
        folder = "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE"
        _isprs_label(made, f"{folder}/{stem}_noBoundary.tif", split, stem, bounded=False)


WRITERS = {
    "gta5": _gta5,
    "synthia": _synthia,
    "cityscapes": _cityscapes,
    "darkzurich": _dark_zurich,
    "acdc": _acdc,
    **dict.fromkeys(("bdd100k", "bdd100k-day", "bdd100k-night"), _bdd100k),
    **dict.fromkeys(("loveda-rural", "loveda-urban"), _loveda),
    **dict.fromkeys(("potsdam-rgb", "potsdam-irrg", "potsdam-rgbir"), _potsdam),
    "vaihingen": _vaihingen,
    "folder": lambda made: None,
}


def write_gta5(root: Path, count: int = 5, width: int = 40, height: int = 32) -> dict[str, np.ndarray]:
    """Random images and labels in GTA5's layout; the raw labels by name."""
    rng, labels = np.random.default_rng(count), {}
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name = f"{number:05d}"
        labels[name] = rng.choice([0, 7, 11, 24, 26], (height, width)).astype(np.uint8)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray(labels[name]).save(root / f"labels/{name}.png")
    return labels


def write_folder(root: Path) -> None:
    """A user's own data set: three training images, one without label, and a test image; two classes."""
    rng = np.random.default_rng(0)
    for folder in ("images/train", "images/test", "labels/train"):
        (root / folder).mkdir(parents=True)
    for name in ("train/a", "train/b ü", "train/c", "test/d"):
        Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(root / f"images/{name}.png")
    for name in ("b ü", "c"):
        Image.fromarray(rng.choice([0, 70], (32, 40)).astype(np.uint8)).save(root / f"labels/train/{name}.png")
    (root / "classes.json").write_text('{"classes": [{"name": "ground"}, {"name": "tree", "ids": [70]}]}')


def touch(root: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def image_names(layout: Layout, root: Path, split: str) -> list[str]:
    """The names of the images that a layout finds."""
    return [item.name for item in scan(layout, root, split)]


def pack_own_pair(root: Path, *, source: int = 0, val: int = 0) -> Path:
    """Pack two own domains of three classes, "bg", "fg" and "edge", of which "edge" has no pixel.

    Args:
        root: A new folder to work in.
        source: Value of all pixels of the source's labels; 0 gives "bg", and one pixel of "fg"; 255 is ignored.
        val: The same of the labels that are scored.

    Returns:
        The folder of the shards, with "source" and "target".
    """
    root.mkdir()
    classes = [{"name": "bg"}, {"name": "fg"}, {"name": "edge"}]
    (root / "classes.json").write_text(json.dumps({"classes": classes, "ignore": "rest"}))
    parts = (("source", "train", source), ("target", "train", 0), ("target", "val", val))
    for shade, (side, split, value) in enumerate(parts):
        label = np.full((64, 64), value, dtype=np.uint8)
        label[0, 0] = value or 1
        for name in "ab":
            for folder, pixels in (("images", np.full((64, 64, 3), shade, dtype=np.uint8)), ("labels", label)):
                (root / side / folder / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / side / folder / split / f"{name}.png")
    for side in ("source", "target"):
        pack("folder", root / side, root / "shards" / side, description=root / "classes.json")
    return root / "shards"


TWO_CLASSES = {"bg": 0, "fg": 255}


def write_two_classes(
    root: Path, out: Path, classes: Mapping[str, int] = TWO_CLASSES, seed: int = 0, things: Collection[str] = ()
) -> None:
    """Pack pictures of two classes, drawn with a seed, whose labels are 0 and 255; some classes may be things."""
    rng = np.random.default_rng(seed)
    shutil.rmtree(root, ignore_errors=True)
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            label = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8), dtype=int)) * 255
            image = np.stack([label // 2 + rng.integers(0, 100, label.shape)] * 3, axis=2)
            Image.fromarray(image.astype(np.uint8)).save(root / "images" / split / name)
            Image.fromarray(label.astype(np.uint8)).save(root / "labels" / split / name)
    description = {
        "classes": [{"name": name, "ids": [number], "thing": name in things} for name, number in classes.items()]
    }
    (root / "classes.json").write_text(json.dumps(description))
    shutil.rmtree(out, ignore_errors=True)
    pack("folder", root, out, description=root / "classes.json")


SMALL_PAIR = StreetsConfig(num_source=3, num_target=2, num_val=2, height=64, width=64, seed=5)
"""An embedded pair that is drawn in a moment."""


def pair_in(cache: Path) -> Path:
    """Return the folder of the only embedded pair in a cache."""
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    return folder
