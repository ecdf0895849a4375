"""Class-balanced drawing of source images, as ProCA does it: classes that were drawn little so far come next.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022.
"""

from __future__ import annotations

import numpy as np

from pgpc.bases.proca.stages import Stage

SUB_EPOCH = 3000
"""Images after which what was drawn so far is forgotten."""

_STREAMS = {"adapt": 2, "source": 4}  # second word of the seeds, by stage; the loader has 0, 1 and 3


def class_probabilities(images: np.ndarray, drawable: np.ndarray) -> np.ndarray:
    """Return the probability that each class is the one that the next image is drawn for.

    P(c) ~ 1 / ln(1.01 + f_c), where f_c is the share of class c in what was drawn so far: every image counts once for
    each class that it shows, however many pixels that has.

    Args:
        images: ``(C,)``, how many of the images drawn so far show each class.
        drawable: ``(C,)`` bool, whether any image shows the class; not all False.

    Returns:
        ``(C,)``, with the sum 1.
    """
    preference = drawable / np.log(1.01 + images / max(images.sum(), 1))
    probabilities: np.ndarray = preference / preference.sum()
    return probabilities


class ClassBalancedDraws:
    """The endless sequences of source images, drawn class by class, one sequence for each stage.

    The next class is drawn with :func:`class_probabilities` of the images drawn so far in the sub-epoch; then an image
    uniformly among those that show it. A sub-epoch is drawn as a whole from a seed of its own: which image is at which
    place depends on nothing else, in particular not on who asked for which before.

    Args:
        class_pixels: ``(N, C)`` int64, pixels of each class in each image, ignored pixels in none.

    Raises:
        ValueError: No image has a labeled pixel.
    """

    def __init__(self, class_pixels: np.ndarray) -> None:
        self._shown = class_pixels > 0
        self._images = [np.flatnonzero(column) for column in self._shown.T]
        self._drawable = np.array([len(images) > 0 for images in self._images])
        if not self._drawable.any():
            raise ValueError(
                "Class-balanced sampling needs images with labeled pixels, but no class has any. Check the labels."
            )
        self._held: tuple[tuple[int, Stage, int], np.ndarray] | None = None  # the sub-epoch that was asked for last

    def row(self, seed: int, stage: Stage, index: int) -> int:
        """Return the number of the image at place `index` >= 0 of the sequence that `seed` gives a stage."""
        sub_epoch, place = divmod(index, SUB_EPOCH)
        if self._held is None or self._held[0] != (seed, stage, sub_epoch):
            rng = np.random.default_rng([seed, _STREAMS[stage], sub_epoch])
            self._held = (seed, stage, sub_epoch), self._draw(rng)
        return int(self._held[1][place])

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the image numbers of one sub-epoch, ``(SUB_EPOCH,)`` int64."""
        rows = np.empty(SUB_EPOCH, dtype=np.int64)
        drawn = np.zeros(self._shown.shape[1])
        for place in range(SUB_EPOCH):
            # Faster than rng.choice, which checks its probabilities at each call.
            above = np.cumsum(class_probabilities(drawn, self._drawable))
            images = self._images[int(np.searchsorted(above, rng.random() * above[-1], side="right"))]
            rows[place] = images[rng.integers(len(images))]
            drawn += self._shown[rows[place]]
        return rows
