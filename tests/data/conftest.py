"""Small data sets in the exact layouts of the real ones, and a writer of PNGs that owes nothing to the readers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WIDTH, HEIGHT = 16, 12


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, *, depth: int = 8, color: int = 0, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of pixels ``(H, W)`` or ``(H, W, C)``, from its specification; `extra` chunks come before the pixels."""
    height, width = pixels.shape[:2]
    passes = [pixels]
    if interlaced:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [pixels[y::dy, x::dx] for y, x, dy, dx in starts]
    if depth < 8:
        lines = [
            np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]).tobytes()
            for part in passes
            if part.size
            for row in part
        ]
    else:
        lines = [row.astype(f">u{depth // 8}").tobytes() for part in passes if part.size for row in part]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def palette(colors: int = 256) -> bytes:
    return chunk(b"PLTE", bytes(255 - k // 3 % 256 for k in range(3 * colors)))


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


_WRITERS = {
    "gta5": _gta5,
    "synthia": _synthia,
    "cityscapes": _cityscapes,
    "darkzurich": _dark_zurich,
    "acdc": _acdc,
    "folder": lambda made: None,
}


@pytest.fixture
def data_set(tmp_path: Path) -> Callable[[str], DataSet]:
    """``data_set(layout)`` writes a small data set in a layout's folders; "folder" is empty, to be filled."""

    def write(name: str) -> DataSet:
        made = DataSet(tmp_path / f"{name} über")  # a blank and an umlaut: such paths exist
        made.root.mkdir()
        _WRITERS[name](made)
        return made

    return write


@pytest.fixture(name="png")
def _png() -> Callable[..., bytes]:
    """Writes PNGs: ``png(pixels, depth=, color=, extra=, interlaced=)``."""
    return png


@pytest.fixture(name="chunk")
def _chunk() -> Callable[[bytes, bytes], bytes]:
    """A chunk of a PNG: ``chunk(kind, data)``."""
    return chunk


@pytest.fixture(name="palette")
def _palette() -> Callable[..., bytes]:
    """The palette chunk of a PNG: ``palette(colors)``."""
    return palette
