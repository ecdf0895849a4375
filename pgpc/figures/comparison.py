"""What several networks make of the same images, side by side (Fig. 4 of the paper)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pgpc.classes import ClassSet, colorize
from pgpc.figures.canvas import Panel, classes_in, grid
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Compared(NamedTuple):
    """One image, a row of the figure.

    Attributes:
        photo: Picture ``(H, W, 3)``, uint8 RGB.
        predictions: Train ids ``(H, W)`` of each network.
        label: Train ids ``(H, W)``, or None.
    """

    photo: np.ndarray
    predictions: Sequence[np.ndarray]
    label: np.ndarray | None


def evenly_spaced(total: int, num: int) -> list[int]:
    """Return the middles of `num` equal parts of ``range(total)``; all of it where it has no more."""
    num = min(num, total)
    return [(2 * i + 1) * total // (2 * num) for i in range(num)]


def disagreement(predictions: Sequence[np.ndarray]) -> float:
    """Compute on what share of an image's pixels two networks differ, averaged over all pairs of networks.

    It asks neither which of them is right nor for labels, so that choosing images by it favors no network.

    Args:
        predictions: Train ids ``(H, W)`` of each network.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: There are fewer than two networks.
    """
    pairs = list(itertools.combinations(predictions, 2))
    check(bool(pairs), "networks can only differ if there are two", len(predictions), "Give another --checkpoint.")
    return float(np.mean([(a != b).mean() for a, b in pairs]))


def most_different(differences: Sequence[float], num: int) -> list[int]:
    """Return the numbers of the `num` images with the largest differences, the largest first; of equals the first.

    Args:
        differences: The :func:`disagreement` on each image.
        num: Number of images.
    """
    return sorted(range(len(differences)), key=lambda i: -differences[i])[:num]


def comparison_figure(images: Sequence[Compared], titles: Sequence[str], classes: ClassSet) -> Figure:
    """Draw one row per image: the image, the prediction of each network, and the ground truth where any has it.

    Args:
        images: At least one image, each with as many predictions.
        titles: Titles of the predictions.
        classes: The classes, whose names and colors are taken.
    """
    labeled = any(image.label is not None for image in images)
    headings = ["image", *titles, *(["ground truth"] if labeled else [])]
    rows = []
    for i, image in enumerate(images):
        maps = [*image.predictions, *([image.label] if labeled else [])]
        pictures = [image.photo, *(None if ids is None else colorize(ids, classes) for ids in maps)]
        rows.append(
            [
                None if picture is None else Panel(picture, heading if i == 0 else "")
                for picture, heading in zip(pictures, headings, strict=True)
            ]
        )
    return grid(rows, classes_in(ids for x in images for ids in (*x.predictions, x.label) if ids is not None), classes)
