"""Class-balanced drawing of source images, as ProCA does it: classes that were drawn little so far come next.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022.
"""

from __future__ import annotations

import numpy as np

SUB_EPOCH = 3000
"""Images after which what was drawn so far is forgotten."""

_STREAM = 2  # second word of the seeds; the loader has 0 and 1


class ClassBalancedDraws:
    """The endless sequence of source images, drawn class by class.

    The next class is drawn with P(c) ~ 1 / ln(1.01 + f_c), where f_c is the share of class c in all labeled pixels of
    the images drawn so far in the sub-epoch; then an image uniformly among those that contain it. A sub-epoch is drawn
    as a whole from a seed of its own: which image is at which place depends on nothing else, in particular not on who
    asked for which before.

    Args:
        class_pixels: ``(N, C)`` int64, pixels of each class in each image, ignored pixels in none.

    Raises:
        ValueError: No image has a labeled pixel.
    """

    def __init__(self, class_pixels: np.ndarray) -> None:
        self._class_pixels = class_pixels
        self._images = [np.flatnonzero(column) for column in class_pixels.T]
        self._drawable = np.array([len(images) > 0 for images in self._images])
        if not self._drawable.any():
            raise ValueError(
                "Class-balanced sampling needs images with labeled pixels, but no class has any. Check the labels."
            )
        self._held: tuple[tuple[int, int], np.ndarray] | None = None  # the sub-epoch that was asked for last

    def row(self, seed: int, index: int) -> int:
        """Return the number of the image at place `index` >= 0 of the sequence that `seed` gives."""
        sub_epoch, place = divmod(index, SUB_EPOCH)
        if self._held is None or self._held[0] != (seed, sub_epoch):
            self._held = (seed, sub_epoch), self._draw(np.random.default_rng([seed, _STREAM, sub_epoch]))
        return int(self._held[1][place])

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the image numbers of one sub-epoch, ``(SUB_EPOCH,)`` int64."""
        rows = np.empty(SUB_EPOCH, dtype=np.int64)
        pixels = np.zeros(self._class_pixels.shape[1])
        for place in range(SUB_EPOCH):
            preference = self._drawable / np.log(1.01 + pixels / max(pixels.sum(), 1))
            # Faster than rng.choice, which checks its probabilities at each call.
            above = np.cumsum(preference)
            drawn = int(np.searchsorted(above, rng.random() * above[-1], side="right"))
            images = self._images[drawn]
            rows[place] = images[rng.integers(len(images))]
            pixels += self._class_pixels[rows[place]]
        return rows
