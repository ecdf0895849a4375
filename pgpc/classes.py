"""The 19 evaluation classes: names, colours, and what each data set calls them.

Everything inside the project speaks *train ids* (0..18, ``IGNORE_INDEX`` for everything else). Raw ids of the data
sets exist only in their label files and are translated once, when the files are packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

IGNORE_INDEX = 255
"""Label of pixels that belong to no evaluated class; never a valid train id."""


class SegmentClass(NamedTuple):
    """One evaluated class.

    Attributes:
        name: Cityscapes' name of the class.
        colour: RGB, each 0..255.
        cityscapes_id: raw id in Cityscapes' and GTA5's ``labelIds`` files.
        synthia_id: raw id in SYNTHIA-RAND-CITYSCAPES.
        thing: whether the class has countable instances (method: feature distance is taken on these).
    """

    name: str
    colour: tuple[int, int, int]
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


def train_id_table(raw_ids: Sequence[int]) -> np.ndarray:
    """Look-up table from 8-bit raw ids to train ids.

    Args:
        raw_ids: the raw id of each class, in train-id order, each 0..255.

    Returns:
        ``(256,)`` uint8; ids that no class has map to ``IGNORE_INDEX``.
    """
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[np.asarray(raw_ids)] = np.arange(len(raw_ids), dtype=np.uint8)
    return table


CITYSCAPES_TRAIN_IDS = train_id_table([c.cityscapes_id for c in CLASSES])
SYNTHIA_TRAIN_IDS = train_id_table([c.synthia_id for c in CLASSES])

_PALETTE = np.zeros((256, 3), dtype=np.uint8)
_PALETTE[:NUM_CLASSES] = [c.colour for c in CLASSES]


def colourise(labels: np.ndarray) -> np.ndarray:
    """Paint train ids in Cityscapes' colours.

    Args:
        labels: ``(..., H, W)`` integer train ids; ``IGNORE_INDEX`` becomes black.

    Returns:
        ``(..., H, W, 3)`` uint8 RGB.
    """
    return _PALETTE[labels]
