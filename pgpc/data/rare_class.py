"""Rare class sampling: source images are drawn by class, rare classes more often.

Hoyer et al., "DAFormer", CVPR 2022, section "Rare Class Sampling for Source Domain".
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RareClasses:
    """The probabilities of the classes, and the images to draw for each.

    Attributes:
        probabilities: ``(C,)`` float64 that sum to 1; 0 for classes that cannot be drawn.
        pools: For each class the indices of the images that hold enough of it; empty where the probability is 0.
    """

    probabilities: np.ndarray
    pools: tuple[np.ndarray, ...]

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draw a class by its probability, then an image of its pool uniformly.

        Returns:
            The train id of the class and the index of the image.
        """
        drawn = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return drawn, int(rng.choice(self.pools[drawn]))


def class_probabilities(class_pixels: np.ndarray, temperature: float, drawable: np.ndarray | None = None) -> np.ndarray:
    """Return the probability with which each class is drawn.

    P(c) = softmax over the classes of (1 - f_c) / T, with f_c the share of class c in all labeled pixels.

    Args:
        class_pixels: ``(N, C)`` int64, pixels of each class in each image, ignored pixels in none.
        temperature: The temperature T > 0; smaller means that rare classes are drawn more often.
        drawable: ``(C,)`` bool, the classes that may be drawn; all that occur when None. The probability of
            the others moves to these in proportion, while f_c stays the share in all pixels.

    Returns:
        ``(C,)`` float64 that sum to 1 within float32's precision; 0 for classes that do not occur or are not
        drawable.

    Raises:
        ValueError: There is no class to draw.
    """
    totals = class_pixels.sum(axis=0)
    drawn = totals > 0 if drawable is None else (totals > 0) & drawable
    if not drawn.any():
        raise ValueError(
            "Rare class sampling needs images with labeled pixels, but no class has any. Check the labels."
        )
    # In float32 and by rising frequency, as the published implementation: dividing by T = 0.01 makes rounding
    # visible (float64 differs by 6e-7), and the order of summation too, on some processors.
    order = [c for c in np.argsort(totals, kind="stable") if drawn[c]]
    frequency = torch.from_numpy(totals[order]) / totals.sum()
    probabilities = np.zeros(len(totals))
    probabilities[order] = torch.softmax((1 - frequency) / temperature, dim=0)
    return probabilities


def pools(class_pixels: np.ndarray, min_pixels: int) -> tuple[np.ndarray, ...]:
    """Return for each class the sorted indices of the images with more than `min_pixels` of it.

    Args:
        class_pixels: ``(N, C)`` int64, pixels of each class in each image.
        min_pixels: The number of pixels that an image must exceed.
    """
    return tuple(np.flatnonzero(column > min_pixels) for column in class_pixels.T)


def rare_classes(class_pixels: np.ndarray, temperature: float, min_pixels: int, names: Sequence[str]) -> RareClasses:
    """Return the probabilities and images from which training draws by class.

    A class that occurs but has an empty pool cannot be drawn: the others take over its probability in
    proportion, and a warning names it. (The published implementation stops with an error.)

    Args:
        class_pixels: ``(N, C)`` int64 at native size.
        temperature: The temperature T > 0 of :func:`class_probabilities`.
        min_pixels: The number of pixels of a class that an image must exceed to be in its pool.
        names: The names of the classes, for messages.

    Raises:
        ValueError: All pools are empty.
    """
    images = pools(class_pixels, min_pixels)
    filled = np.array([len(pool) > 0 for pool in images])
    if not filled.any():
        raise ValueError(
            f"Rare class sampling draws images with more than data.rare_class_min_pixels={min_pixels} pixels "
            f"of a class, but the most that any image has of one class is {class_pixels.max(initial=0)}. "
            "Lower data.rare_class_min_pixels or set data.rare_class_sampling=false."
        )
    left_out = [
        name for name, has_pool, total in zip(names, filled, class_pixels.sum(axis=0)) if total and not has_pool
    ]
    if left_out:
        log.warning(
            "No source image has more than data.rare_class_min_pixels=%d pixels of %s; rare class sampling "
            "draws the other classes instead.",
            min_pixels,
            ", ".join(left_out),
        )
    probabilities = class_probabilities(class_pixels, temperature, filled)
    return RareClasses(probabilities / probabilities.sum(), images)
