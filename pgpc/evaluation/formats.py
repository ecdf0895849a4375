"""What can be written of a segmented picture: a table of formats. Importing it loads neither torch nor Pillow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pgpc.classes import CITYSCAPES, CLASSES, ClassSet
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from PIL import Image

_LABEL_IDS = np.array([c.cityscapes_id for c in CLASSES], dtype=np.uint8)


class Segmented(NamedTuple):
    """A segmented picture.

    Attributes:
        ids: Train ids ``(H, W)``, uint8.
        confidence: Softmax probability of that class, ``(H, W)``, float32, above 0 and at most 1.
    """

    ids: np.ndarray
    confidence: np.ndarray


class Format(NamedTuple):
    """One way of writing a segmented picture.

    Attributes:
        name: What users call it, and what the folder of its files is called.
        suffix: How the name of a file ends.
        help: What it is, in words.
        draw: Function that draws the picture to be written; it is given the picture that was segmented,
            ``(H, W, 3)`` uint8 RGB, what it was segmented to, and the classes.
        colored: Whether it shows the colors of the classes, which a legend explains.
        cityscapes_only: Whether it is for networks on the 19 classes of Cityscapes alone.
    """

    name: str
    suffix: str
    help: str
    draw: Callable[[np.ndarray, Segmented, ClassSet], Image.Image]
    colored: bool = False
    cityscapes_only: bool = False


def label_ids(ids: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Turn train ids into Cityscapes' own ids.

    Args:
        ids: Train ids ``(H, W)``, uint8.
        classes: The classes that these are ids of.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        ValueError: The classes are not the 19 of Cityscapes.
    """
    check_cityscapes(classes, "Label ids are")
    return np.asarray(_LABEL_IDS[ids])


def check_cityscapes(classes: ClassSet, what: str) -> None:
    """Refuse other classes than the 19 of Cityscapes.

    Args:
        classes: The classes of a network.
        what: The begin of the message, with its verb.

    Raises:
        ValueError: They are others, or in another order.
    """
    check(
        classes.names == CITYSCAPES.names,
        f"{what} for networks on the 19 classes of Cityscapes alone",
        ", ".join(classes.names),
    )


def _overlay(image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    from pgpc.evaluation.overlay import draw_overlay

    return draw_overlay(image, segmented.ids, classes)


def _palette(image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    drawn = _gray(segmented.ids)
    drawn.putpalette([value for color in classes.colors for value in color])
    return drawn


def _train_ids(image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    return _gray(segmented.ids)


def _label_ids(image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    return _gray(label_ids(segmented.ids, classes))


def _confidence(image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    return _gray(np.rint(255 * segmented.confidence).astype(np.uint8))


def _gray(pixels: np.ndarray) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("overlay", ".jpg", "the photo under the colors of the classes", _overlay, colored=True),
        Format(
            "colour", ".png", "a PNG of train ids with a palette, which shows them in colors", _palette, colored=True
        ),
        Format("train-ids", ".png", "a gray PNG of the ids 0, 1, .. of the network's classes", _train_ids),
        Format("label-ids", ".png", "a gray PNG of Cityscapes' own ids", _label_ids, cityscapes_only=True),
        Format("confidence", ".png", "a gray PNG of 255 times the probability of the class", _confidence),
    )
}
"""All formats by name."""

DEFAULT_FORMATS = ("overlay", "train-ids")
"""Names of the formats that are written where none is asked for."""
