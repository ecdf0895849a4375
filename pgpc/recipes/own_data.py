"""Presets for one's own data, "custom/{base}": their numbers are taken from packed shards and the length of training.

What the presets of published tasks say of Cityscapes, sizes, margins and thresholds in pixels, means nothing for other
pictures. Here the same proportions are kept: how much of a picture a crop shows, which share of a crop makes a class
worth drawing, of how many classes a negative pixel may be, and after which share of the training the contrast starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pgpc.config import Config, DataConfig, field_of, override
from pgpc.data.domains import open_any
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.shards.manifest import read_manifest
from pgpc.data.transforms import box_size
from pgpc.models.config import IMAGENET
from pgpc.presets import OWN, BasePreset, find_base
from pgpc.recipes.lengths import ITERATIONS, scaled_lengths
from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.coercion import coerce

Changes = Mapping[str, Any]

_SHORT_SIDE, _SHORT_SIDE_HIGH = 512, 1024
"""What the short side of a picture is resized to at most: the height of Cityscapes' images in the papers."""
_GTA5_CROP, _GTA5_SCALE = 512, (1280 / 1914) ** 2
"""Crop, and area of a resized picture as a share of the native one, that the papers' thresholds are for."""
_ENOUGH_IMAGES = 5
"""Images that each class should have to be drawn from, where there are as many; the threshold is lowered for that."""
_LOWEST = 0.1
"""Share of the papers' threshold that it is lowered to at most."""
_SMALL_SHARE = 0.1
"""Share of the pictures that may be smaller than a crop."""
_FROM_RANDOM: Changes = {"adaptation.feature_distance_weight": 0.0}
"""What is changed where the encoder starts from random weights: there is nothing to stay close to."""
_FEWEST_FILLS = 16
"""Iterations that fill a memory bank of 4096 rows, 256 at a time."""


class Side(NamedTuple):
    """The training images of a domain.

    Attributes:
        where: Their folder of shards.
        sizes: Their native widths and heights, ``(N, 2)``.
        class_pixels: Pixels of each class in each, ``(N, C)``.
        classes: Names of the classes.
        scored: The split with labels that can be scored; None where there is none.
        pixels: Bands and bits of the images.
    """

    where: str
    sizes: np.ndarray
    class_pixels: np.ndarray
    classes: tuple[str, ...]
    scored: str | None
    pixels: PixelForm = RGB

    @property
    def typical(self) -> tuple[int, int]:
        """Width and height of the picture in the middle, upright or lying as most are."""
        width, height = np.median(np.sort(self.sizes, axis=1)[:, ::-1], axis=0).astype(int).tolist()
        lying = (self.sizes[:, 0] >= self.sizes[:, 1]).mean() >= 0.5
        return (width, height) if lying else (height, width)


def own_config(name: str, settings: Changes) -> Config:
    """Return the config of a preset for one's own data.

    Args:
        name: One of :func:`pgpc.presets.own_names`.
        settings: What the user sets, by dotted key; ``data.source`` and ``data.target`` must be there. Other numbers
            follow from sizes, crop and iterations that are set; all else is left to :func:`pgpc.config.override`.

    Raises:
        ValueError: The shards are not given, cannot be opened, have no labels or too small pictures, or there is no
            such base.
        OSError: S3 cannot be reached.
    """
    base = find_base(name)
    with all_at_once():
        for key, what in (("data.source", "labeled"), ("data.target", "unlabeled")):
            check(
                bool(settings.get(key)),
                f"{key} must name the packed shards of the {what} pictures for {name}",
                settings.get(key),
                f"Pack them with `pgpc pack`, and add --set {key}=FOLDER.",
            )
    source, target = look_at(str(settings["data.source"])), look_at(str(settings["data.target"]))
    pgpc = name.endswith("+pgpc")
    changes = {
        "name": name,
        "data.source": source.where,
        "data.target": target.where,
        "data.eval_split": target.scored,
        "data.bands": source.pixels.bands,
        "data.bits": source.pixels.bits,
        "model.num_classes": len(source.classes),
        "model.pretrained": IMAGENET,
        "contrast.r": rank(len(source.classes)),
        "contrast.enabled": pgpc,
        "adaptation.ignore_top": 0,
        "adaptation.ignore_bottom": 0,
        **base.changes,
        **(base.with_pgpc if pgpc else {}),
        **(_FROM_RANDOM if "model.pretrained" in settings and _set(settings, "model.pretrained") is None else {}),
        **_sizes(base, source, target, settings),
    }
    return override(Config(), {**changes, **_lengths(base, changes, settings)})


def look_at(where: str) -> Side:
    """Return what the training images of a domain are like.

    Raises:
        ValueError: The shards cannot be opened.
        OSError: S3 cannot be reached.
    """
    shards = open_any(where, DataConfig(), "train")
    manifest = read_manifest(shards.folder)
    scored = manifest.splits.get("val")
    return Side(
        where,
        shards.sizes,
        shards.class_pixels,
        shards.classes.names,
        "val" if scored is not None and scored.labeled == scored.count else None,
        shards.pixels,
    )


def rank(num_classes: int) -> int:
    """Return r for so many classes: the share of them that the paper's 4 of 19 are, at least 1."""
    return max(1, round(4 * num_classes / 19))


def box_of(side: Side, short_side: int) -> tuple[int, int]:
    """Return the box that pictures are resized into: that of the typical one, made smaller where it is large.

    Args:
        side: The pictures.
        short_side: What the box's short side is at most.
    """
    width, height = side.typical
    factor = min(1.0, short_side / min(width, height))
    return max(32, round(width * factor)), max(32, round(height * factor))


def crop_side(boxes: Mapping[str, tuple[int, int]], sides: Mapping[str, Side], short_side: int) -> int:
    """Return the side of a square that all but a few of the resized pictures hold, a multiple of 32.

    Args:
        boxes: The box of each domain.
        sides: The pictures of each domain.
        short_side: What the side is at most.

    Raises:
        ValueError: The pictures are too small for any.
    """
    smallest = short_side
    for name, side in sides.items():
        resized = [min(box_size(width, height, boxes[name])) for width, height in side.sizes.tolist()]
        smallest = min(smallest, int(np.quantile(resized, _SMALL_SHARE)))
    check(
        smallest >= 64,
        "Pictures must have at least 64 pixels on their short side after resizing",
        smallest,
        "Set data.source_size, data.target_size and data.crop, or pack larger pictures.",
    )
    return smallest // 32 * 32


def rare_class_thresholds(side: Side, box: tuple[int, int], crop: int) -> tuple[int, float]:
    """Return how many pixels of a class make an image worth drawing, and which multiple of that a crop must hold.

    The papers' 3000 pixels of GTA5's images are a share of a crop; the same share is asked for here, and less where too
    few images of a class would have as much.

    Args:
        side: The labeled pictures.
        box: What they are resized into.
        crop: Side of a crop.
    """
    width, height = side.typical
    resized = box_size(width, height, box)
    scale = resized[0] * resized[1] / (width * height)
    usual = 3000 * (crop / _GTA5_CROP) ** 2 * _GTA5_SCALE / scale
    pixels = usual
    for column in -np.sort(-side.class_pixels, axis=0).T:
        images = int((column > 0).sum())
        if images:
            pixels = min(pixels, column[min(images, _ENOUGH_IMAGES) - 1] - 1)
    # A class of a few pixels must not have the others drawn from images that hardly show them.
    return int(max(pixels, usual * _LOWEST)), round(0.5 * scale / _GTA5_SCALE, 3)


def in_words(config: Config) -> str:
    """Return what a preset has taken from the shards, in a sentence."""
    data, scored = config.data, config.data.eval_split
    return (
        f"{config.name} has taken from the shards: {config.model.num_classes} classes, pictures resized into "
        f"{data.source_size[0]} x {data.source_size[1]} and {data.target_size[0]} x {data.target_size[1]}, "
        f"crop {data.crop}, r {config.contrast.r}, rare classes from {data.rare_class_min_pixels} pixels, "
        f"{'no labels of the target to score on' if scored is None else f'scored on split {scored}'}; contrast from "
        f"iteration {config.contrast.start} of {config.training.iterations}. `pgpc init` writes it into a file."
    )


def _sizes(base: BasePreset, source: Side, target: Side, settings: Changes) -> dict[str, Any]:
    """Return all that is measured in pixels."""
    limit = _SHORT_SIDE_HIGH if base.high_resolution else _SHORT_SIDE
    sides = {"source": source, "target": target}
    boxes = {name: _set(settings, f"data.{name}_size") or box_of(side, limit) for name, side in sides.items()}
    changes: dict[str, Any] = {f"data.{name}_size": box for name, box in boxes.items()}
    whole = base.changes.get("data.crop", 0) is None
    crop = _set(settings, "data.crop") or crop_side(boxes, sides, limit)
    pixels, ratio = rare_class_thresholds(source, boxes["source"], crop)
    changes |= {
        "data.crop": None if whole else crop,
        "data.rare_class_min_pixels": pixels,
        "data.rare_class_min_crop_ratio": ratio,
        # The share of a crop that they are in MIC: 32 of 512.
        "adaptation.mask_block": max(1, crop // 16),
    }
    if base.high_resolution:
        changes |= {"evaluation.window": crop, "evaluation.window_stride": crop // 2}
    if "model.detail_crop" in base.changes:
        changes["model.detail_crop"] = crop // 2
    return changes


def _lengths(base: BasePreset, changes: Changes, settings: Changes) -> dict[str, Any]:
    """Return all that is measured in iterations."""
    config = override(Config(), {**changes, "contrast.enabled": False})
    iterations = _set(settings, ITERATIONS) or config.training.iterations
    lengths: dict[str, Any] = {ITERATIONS: iterations, **scaled_lengths(config, iterations)}
    if "contrast.start" not in base.changes:
        lengths["contrast.start"] = iterations // 3  # as in the paper
        fill = max(lengths.get("contrast.fill", config.contrast.fill), _FEWEST_FILLS)
        lengths["contrast.fill"] = min(fill, lengths["contrast.start"])
    return lengths


def _set(settings: Changes, key: str) -> Any:
    """Return what the user has set a key to; None where that is nothing, or is refused later."""
    if key not in settings:
        return None
    info = field_of(key)
    try:
        value = coerce(settings[key], info.kind, key)
        info.check(value)
    except ValueError:
        return None
    return value


def is_own(name: str) -> bool:
    """Return whether a name is meant to be that of a preset for one's own data."""
    return name.partition("/")[0] == OWN
