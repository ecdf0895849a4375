"""The embedded pair of domains: procedural streets, as a game engine and as a real camera would show them.

The two domains share the 19 classes and differ in light, color, texture, optics, noise and street layout.
They are written in the layouts of GTA5 and Cityscapes, so that everything that reads those data sets can be
run without them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from pgpc.classes import CLASSES
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.palette import BUILDING, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION, WALL, Dice
from pgpc.data.streets.scene import StreetStyle, compose

Domain = Literal["source", "target"]
_Split = Literal["source", "train", "val"]

CITIES: dict[str, tuple[str, ...]] = {
    "train": ("altbruck", "birkenfurt", "kaltensee", "morsbach", "steinhagen", "weidenau"),
    "val": ("lindenthal", "rotmark"),
}
_DOMAIN_KEYS: dict[str, int] = {"source": 0, "train": 1, "val": 2}  # second word of an image's seed

_GAME = StreetStyle(
    focal=(0.78, 0.95),
    camera_height=(1.5, 2.1),
    horizon=(0.40, 0.50),
    road_left=(6.0, 10.0),
    road_right=(4.2, 6.5),
    sidewalk=(3.0, 5.5),
    verge=0.45,
    lots=(0.68, 0.32, 0.16, 0.30),
    storeys=(1, 6),
    parked=0.28,
    cars=4,
    people=3,
    bicycles=0.13,
    trees=0.40,
    palms=0.4,
    furniture=0.42,
    rare=(0.13, 0.14, 0.20, 0.14, 0.11),
    sun=(0.45, 0.9),
    sky=((74, 138, 214), (96, 160, 224), (60, 120, 200), (110, 164, 214), (214, 168, 132)),
    haze=420,
    hood=0.0,
)
_CAMERA = StreetStyle(
    focal=(0.98, 1.15),
    camera_height=(1.2, 1.4),
    horizon=(0.42, 0.54),
    road_left=(4.4, 6.2),
    road_right=(3.4, 4.4),
    sidewalk=(2.6, 5.0),
    verge=0.2,
    lots=(0.84, 0.16, 0.12, 0.22),
    storeys=(3, 6),
    parked=0.42,
    cars=3,
    people=5,
    bicycles=0.30,
    trees=0.34,
    palms=0.0,
    furniture=0.5,
    rare=(0.15, 0.12, 0.16, 0.15, 0.13),
    sun=(0.0, 0.3),
    sky=((196, 204, 208), (214, 218, 218), (176, 186, 194), (232, 234, 234), (168, 192, 216)),
    haze=150,
    hood=0.06,
)

# How strongly a surface is textured, in gray levels of the source; what is not named gets _PLAIN.
_ROUGHNESS = {ROAD: 7, SIDEWALK: 9, BUILDING: 8, WALL: 12, VEGETATION: 22, TERRAIN: 16, SKY: 2}
_PLAIN = 4


def render(domain: Domain, rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render one random street of a domain.

    Args:
        domain: "source" (game engine) or "target" (real camera).
        rng: the only source of randomness.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        image ``(height, width, 3)`` uint8 RGB, and train ids ``(height, width)`` uint8, 255 where ignored.

    Raises:
        ValueError: the domain is unknown.
    """
    if domain not in ("source", "target"):
        raise ValueError(f"domain must be 'source' or 'target', got {domain!r}: pick one of the two")
    flat, labels = compose(_GAME if domain == "source" else _CAMERA, rng, height, width)
    # Sums and products of arrays round alike on all machines; powers and exponentials do not: there are none.
    image = flat.astype(np.float32) + _texture(rng, labels, fine=domain == "target")
    image = (_game_look if domain == "source" else _camera_look)(image, rng)
    return _to_bytes(image), labels


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(image + np.float32(0.5)), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Triangular noise in -1..1 with one value per ``cell`` pixels, ``(height, width)`` float32."""
    rows, columns = -(-height // cell), -(-width // cell)
    values = rng.integers(0, 128, (2, rows, columns), dtype=np.int16)
    values = (values[0] - values[1]).astype(np.float32) / np.float32(127)
    return values if cell == 1 else values.repeat(cell, 0).repeat(cell, 1)[:height, :width]


def _texture(rng: np.random.Generator, labels: np.ndarray, *, fine: bool) -> np.ndarray:
    """Surface texture by class, ``(H, W, 1)`` gray levels: one scale in the game, four on real surfaces."""
    strength = np.full(256, _PLAIN, dtype=np.float32)
    for label, value in _ROUGHNESS.items():
        strength[label] = value
    height, width = labels.shape
    scales = ((1, 0.7), (2, 0.7), (4, 0.6), (8, 0.6)) if fine else ((2, 0.7),)
    pattern = np.zeros((height, width), dtype=np.float32)
    for cell, weight in scales:
        pattern += np.float32(weight) * _noise(rng, height, width, cell)
    return (pattern * strength[labels])[..., None]


def _saturate(image: np.ndarray, amount: float) -> np.ndarray:
    gray = (image[..., 0] * np.float32(0.3) + image[..., 1] * np.float32(0.59) + image[..., 2] * np.float32(0.11))[
        ..., None
    ]
    return gray + (image - gray) * np.float32(amount)


def _game_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clean, saturated, warm and contrasty."""
    dice = Dice(rng)
    image = _saturate(image, dice.between(1.15, 1.4))
    image = (image - np.float32(118)) * np.float32(dice.between(1.05, 1.2)) + np.float32(dice.between(112, 130))
    image = image * np.array([1.03, 1.0, 0.95], dtype=np.float32)
    return image + _noise(rng, *image.shape[:2], 1)[..., None] * np.float32(1.5)


def _camera_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dull light, a greenish tint, sometimes glare, then lens blur, vignetting and sensor noise."""
    dice = Dice(rng)
    height, width = image.shape[:2]
    image = _saturate(image, dice.between(0.35, 0.65))
    image = (image - np.float32(120)) * np.float32(dice.between(0.62, 0.88)) + np.float32(dice.between(84, 124))
    tint = [dice.between(0.90, 0.99), dice.between(0.99, 1.05), dice.between(0.91, 1.0)]
    image = image * np.array(tint, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    if dice.chance(0.25):
        dy = (rows - np.float32(height * dice.between(0, 0.35))) / np.float32(height * 0.3)
        dx = (columns - np.float32(width * dice.between(0.1, 0.9))) / np.float32(height * 0.3)
        image = image + (np.float32(dice.between(50, 110)) / (1 + dx * dx + dy * dy))[..., None]
    blurred = Image.fromarray(_to_bytes(image)).filter(ImageFilter.GaussianBlur(dice.between(0.45, 0.95)))
    image = np.array(blurred, dtype=np.float32)
    dy, dx = rows / np.float32(height / 2) - 1, columns / np.float32(width / 2) - 1
    image = image * (1 - np.float32(dice.between(0.08, 0.2)) * (dy * dy + dx * dx))[..., None]
    grain = (
        np.stack([_noise(rng, height, width, 1) for _ in range(3)], axis=-1)
        + 2 * _noise(rng, height, width, 1)[..., None]
    )
    return image + grain * np.float32(dice.between(2.0, 4.5))


_RAW_IDS = np.zeros(256, dtype=np.uint8)  # train id -> raw Cityscapes id; ignored pixels are 0, "unlabeled"
_RAW_IDS[: len(CLASSES)] = [c.cityscapes_id for c in CLASSES]
_RAW_PALETTE = np.zeros((256, 3), dtype=np.uint8)
for _class in CLASSES:
    _RAW_PALETTE[_class.cityscapes_id] = _class.color


def _write_png(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write 8-bit RGB, gray or palette pixels as a PNG without compression.

    Compressed bytes differ between versions and builds of zlib; stored ones do not, and take no time.
    """
    height, width = pixels.shape[:2]
    color_type = 2 if pixels.ndim == 3 else 0 if palette is None else 3
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # every line starts with filter type 0
    lines[:, 1:] = pixels.reshape(height, -1)
    raw = lines.tobytes()
    blocks = [raw[i : i + 65535] for i in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", i == len(blocks) - 1, len(b), len(b) ^ 0xFFFF) + b for i, b in enumerate(blocks)
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", palette.tobytes()))
    chunks += [(b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _paths(root: Path, split: _Split, index: int) -> tuple[Path, Path]:
    """Image and label path of one frame; frames go round the cities, 20 apart as in Cityscapes' sequences."""
    if split == "source":
        name = f"{index + 1:05d}.png"
        return root / "source" / "images" / name, root / "source" / "labels" / name
    cities = CITIES[split]
    city = cities[index % len(cities)]
    stem = f"{city}_{index // len(cities):06d}_000019"
    target = root / "target"
    return (
        target / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png",
        target / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png",
    )


def _write_frame(config: StreetsConfig, root: Path, split: _Split, index: int) -> None:
    rng = np.random.default_rng([config.seed, _DOMAIN_KEYS[split], index])
    image, labels = render("source" if split == "source" else "target", rng, config.height, config.width)
    image_path, label_path = _paths(root, split, index)
    _write_png(image_path, image)
    _write_png(label_path, _RAW_IDS[labels], _RAW_PALETTE if split == "source" else None)


def write_streets(config: StreetsConfig, root: Path, *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write both domains: ``root/source`` in GTA5's layout, ``root/target`` in Cityscapes'.

    Labels hold raw Cityscapes ids, ignored pixels 0. Target training labels are written too: supervised upper
    bounds read them, adaptation does not. Every image depends on seed, split and index only, never on the
    counts.

    Args:
        config: counts, size and seed.
        root: folder to write below; made if missing, files of the same names are overwritten.
        on_progress: called with (frames done, frames in all) after every frame.
    """
    counts: dict[_Split, int] = {
        "source": config.num_source,
        "train": config.num_target,
        "val": config.num_val,
    }
    frames = [(split, index) for split, count in counts.items() for index in range(count)]
    for folder in {path.parent for frame in frames for path in _paths(root, *frame)}:
        folder.mkdir(parents=True, exist_ok=True)
    for done, (split, index) in enumerate(frames, 1):
        _write_frame(config, root, split, index)
        if on_progress is not None:
            on_progress(done, len(frames))
