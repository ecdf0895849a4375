"""The embedded pair of domains: procedural streets, as a game engine and as a real camera would show them.

The two domains share the 19 classes and differ in light, color, texture, optics, noise and street layout.
They are written in the layouts of GTA5 and Cityscapes, so that everything that reads those data sets can be
run without them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from pgpc.classes import CLASSES
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.looks import camera_look, game_look, texture, to_bytes
from pgpc.data.streets.png import write_png
from pgpc.data.streets.scene import compose
from pgpc.data.streets.styles import CAMERA, GAME

Domain = Literal["source", "target"]
_Split = Literal["source", "train", "val"]

CITIES: dict[str, tuple[str, ...]] = {
    "train": ("altbruck", "birkenfurt", "kaltensee", "morsbach", "steinhagen", "weidenau"),
    "val": ("lindenthal", "rotmark"),
}
_DOMAIN_KEYS: dict[str, int] = {"source": 0, "train": 1, "val": 2}  # second word of an image's seed
_APART = 3  # that of scenes which are in no pair

_RAW_IDS = np.zeros(256, dtype=np.uint8)  # train id -> raw Cityscapes id; ignored pixels are 0, "unlabeled"
_RAW_IDS[: len(CLASSES)] = [c.cityscapes_id for c in CLASSES]
_RAW_PALETTE = np.zeros((256, 3), dtype=np.uint8)
for _class in CLASSES:
    _RAW_PALETTE[_class.cityscapes_id] = _class.color


def render(domain: Domain, rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render one random street of a domain.

    Args:
        domain: The domain, "source" (game engine) or "target" (real camera).
        rng: The generator that all random choices come from.
        height: The height of the image in pixels.
        width: Its width in pixels.

    Returns:
        The image ``(height, width, 3)`` uint8 RGB, and train ids ``(height, width)`` uint8, 255 where ignored.

    Raises:
        ValueError: The domain is unknown.
    """
    if domain not in ("source", "target"):
        raise ValueError(f"domain must be 'source' or 'target', got {domain!r}: pick one of the two")
    flat, labels = compose(GAME if domain == "source" else CAMERA, rng, height, width)
    # Sums and products of arrays round alike on all machines; powers and exponentials do not: there are none.
    image = flat.astype(np.float32) + texture(rng, labels, fine=domain == "target")
    image = (game_look if domain == "source" else camera_look)(image, rng)
    return to_bytes(image), labels


def render_apart(seed: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Render a scene in the style of the source that is in no pair, whatever that one's seed.

    Args:
        seed: The seed of the scenes.
        index: The number of the scene, at least 0.
        height: The height of the image in pixels.
        width: Its width in pixels.

    Returns:
        Image and labels as :func:`render` gives them.
    """
    return render("source", np.random.default_rng([seed, _APART, index]), height, width)


def _paths(root: Path, split: _Split, index: int) -> tuple[Path, Path]:
    """Return the image and label path of a frame; frames go round the cities, named as in Cityscapes' sequences."""
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
    write_png(image_path, image)
    write_png(label_path, _RAW_IDS[labels], _RAW_PALETTE if split == "source" else None)


def write_streets(config: StreetsConfig, root: Path, *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write both domains: ``root/source`` in GTA5's layout, ``root/target`` in Cityscapes'.

    Labels hold raw Cityscapes ids, ignored pixels 0. Target training labels are written too: supervised upper
    bounds read them, adaptation does not. Every image depends on seed, split and index only, never on the
    counts.

    Args:
        config: The numbers of images, their size and the seed.
        root: The folder to write below; it is made if need be, and files of the same names are overwritten.
        on_progress: A function that is called with (frames done, frames in all) after every frame.
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
