"""The 19 evaluation classes: their names, colors, and ids in each data set.

Everything inside the project speaks *train ids* (0..18, ``IGNORE_INDEX`` for everything else). Raw ids of the data
sets exist only in their label files and are translated once, when the files are packed.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

IGNORE_INDEX = 255
"""Label of pixels that belong to no evaluated class; never a valid train id."""


class SegmentClass(NamedTuple):
    """One evaluated class.

    Attributes:
        name: Cityscapes' name of the class.
        color: RGB, each 0..255.
        cityscapes_id: Raw id in Cityscapes' and GTA5's ``labelIds`` files.
        synthia_id: Raw id in SYNTHIA-RAND-CITYSCAPES.
        thing: True for classes with countable instances, on which the feature distance to ImageNet is taken.
    """

    name: str
    color: tuple[int, int, int]
    cityscapes_id: int
    synthia_id: int
    thing: bool


CLASSES: tuple[SegmentClass, ...] = (
    SegmentClass("road", (128, 64, 128), 7, 3, False),
    SegmentClass("sidewalk", (244, 35, 232), 8, 4, False),
    SegmentClass("building", (70, 70, 70), 11, 2, False),
    SegmentClass("wall", (102, 102, 156), 12, 21, False),
    SegmentClass("fence", (190, 153, 153), 13, 5, False),
    SegmentClass("pole", (153, 153, 153), 17, 7, False),
    SegmentClass("traffic light", (250, 170, 30), 19, 15, True),
    SegmentClass("traffic sign", (220, 220, 0), 20, 9, True),
    SegmentClass("vegetation", (107, 142, 35), 21, 6, False),
    SegmentClass("terrain", (152, 251, 152), 22, 16, False),
    SegmentClass("sky", (70, 130, 180), 23, 1, False),
    SegmentClass("person", (220, 20, 60), 24, 10, True),
    SegmentClass("rider", (255, 0, 0), 25, 17, True),
    SegmentClass("car", (0, 0, 142), 26, 8, True),
    SegmentClass("truck", (0, 0, 70), 27, 18, True),
    SegmentClass("bus", (0, 60, 100), 28, 19, True),
    SegmentClass("train", (0, 80, 100), 31, 20, True),
    SegmentClass("motorcycle", (0, 0, 230), 32, 12, True),
    SegmentClass("bicycle", (119, 11, 32), 33, 11, True),
)

NUM_CLASSES = len(CLASSES)
CLASS_NAMES: tuple[str, ...] = tuple(c.name for c in CLASSES)
THING_CLASSES: tuple[int, ...] = tuple(i for i, c in enumerate(CLASSES) if c.thing)


class ClassSet(NamedTuple):
    """The classes of a data set, in the order of their train ids.

    Attributes:
        names: Name of each class.
        colors: RGB of each class, each 0..255.
        things: Train ids of the classes with countable instances.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    things: tuple[int, ...]


CITYSCAPES = ClassSet(CLASS_NAMES, tuple(c.color for c in CLASSES), THING_CLASSES)
"""The 19 classes."""

SYNTHIA_16: tuple[int, ...] = tuple(
    i for i, name in enumerate(CLASS_NAMES) if name not in ("terrain", "truck", "train")
)
"""Train ids of the classes that SYNTHIA-RAND-CITYSCAPES labels: mIoU over 16 classes."""
SYNTHIA_13: tuple[int, ...] = tuple(i for i in SYNTHIA_16 if CLASS_NAMES[i] not in ("wall", "fence", "pole"))
"""Train ids of the 13 of them that earlier papers score."""


def train_id_table(raw_ids: Sequence[int]) -> np.ndarray:
    """Return a look-up table from 8-bit raw ids to train ids.

    Args:
        raw_ids: The raw id of each class, in train-id order, each 0..255.

    Returns:
        ``(256,)`` uint8, in which ids that no class has map to ``IGNORE_INDEX``.
    """
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[np.asarray(raw_ids)] = np.arange(len(raw_ids), dtype=np.uint8)
    return table


CITYSCAPES_TRAIN_IDS = train_id_table([c.cityscapes_id for c in CLASSES])
SYNTHIA_TRAIN_IDS = train_id_table([c.synthia_id for c in CLASSES])


def classes_to_json(classes: ClassSet) -> list[dict[str, Any]]:
    """Return the classes as JSON: a list of ``{"name": .., "colour": [r, g, b], "thing": bool}``."""
    # "colour", and "labelled" in the manifest of shards, are names in files of every version, and so stay as they are.
    return [
        {"name": name, "colour": list(color), "thing": k in classes.things}
        for k, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True))
    ]


def classes_from_json(entries: Sequence[Mapping[str, Any]] | None, num_classes: int | None = None) -> ClassSet:
    """Return the classes that a list in JSON describes: the inverse of :func:`classes_to_json`.

    Args:
        entries: The list, in which "color" may also be written "colour", and may be left out, as may "thing". None
            gives the 19 classes of Cityscapes, or, where `num_classes` is another number, nameless ones: files that
            were written before classes were kept have no entries.
        num_classes: The number of classes that there must be; None accepts any number.

    Raises:
        ValueError: An entry has no name on one line or no valid color, two have the same name, or there is another
            number of them.
    """
    if entries is None:
        if num_classes is None or num_classes == NUM_CLASSES:
            return CITYSCAPES
        entries = [{"name": f"class {k}"} for k in range(num_classes)]
    if not isinstance(entries, Sequence) or not all(isinstance(e, Mapping) and e.get("name") for e in entries):
        raise ValueError(
            'classes must be a list of {"name": .., "color": [r, g, b], "thing": true or false}, the last two optional '
            f'("colour" is accepted too), but got {entries!r:.200}.'
        )
    names = tuple(str(entry["name"]) for entry in entries)
    _check_printable(names)
    if len(set(names)) < len(names) or not 1 <= len(names) < IGNORE_INDEX:
        raise ValueError(f"classes must be 1 to {IGNORE_INDEX - 1} and have different names, but got {list(names)}.")
    if num_classes not in (None, len(names)):
        raise ValueError(f"There must be {num_classes} classes, but {len(names)} are listed: {', '.join(names)}.")
    colors = tuple(_color(entry, names[k], _distinct_color(k)) for k, entry in enumerate(entries))
    return ClassSet(names, colors, tuple(k for k, entry in enumerate(entries) if entry.get("thing")))


def _check_printable(names: Sequence[str]) -> None:
    """Refuse names that would steer the terminals and pages that they are shown on."""
    for name in names:
        if not name.isprintable():
            raise ValueError(f"The name of a class must be text on one line, but got {name!r}. Rename it.")


def _color(entry: Mapping[str, Any], name: str, default: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the color of an entry, under either spelling; `default` where it has none."""
    spelled = [key for key in ("color", "colour") if key in entry]
    if len(spelled) > 1:
        raise ValueError(f'Class {name!r} must have one color, but has both "color" and "colour". Leave one out.')
    if not spelled:
        return default
    value = entry[spelled[0]]
    if not (
        isinstance(value, Sequence) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value)
    ):
        raise ValueError(f"The color of class {name!r} must be [r, g, b], each 0..255, but got {value!r}.")
    red, green, blue = value
    return red, green, blue


def _distinct_color(k: int) -> tuple[int, int, int]:
    """Return a color for the k-th class; hues a golden section apart do not come close to one another early."""
    red, green, blue = colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.75, 0.95 - 0.3 * (k % 2))
    return round(255 * red), round(255 * green), round(255 * blue)


def colorize(labels: np.ndarray, classes: ClassSet = CITYSCAPES) -> np.ndarray:
    """Paint train ids in the colors of their classes.

    Args:
        labels: ``(..., H, W)`` integer train ids; ``IGNORE_INDEX`` becomes black.
        classes: The classes with their colors.

    Returns:
        ``(..., H, W, 3)`` uint8 RGB.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(classes.colors)] = classes.colors
    painted: np.ndarray = palette[labels]
    return painted
