"""MixVal: whether a mixture of two images is predicted as the image that it has more of.

Hu et al., "Mixed Samples as Probes for Unsupervised Model Selection in Domain Adaptation", NeurIPS 2023. Theirs is for
classification of images; here each pixel is a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.runtime import distributed

WEIGHT = 0.55
"""Share of the first image in a mixture."""


def mixture(first: Tensor, second: Tensor) -> Tensor:
    """Mix two images, ``WEIGHT`` of the first and the rest of the second.

    Args:
        first: Normalized image ``(1, 3, H, W)``.
        second: Another, brought bilinearly to the size of the first where it has another.

    Returns:
        ``(1, 3, H, W)``.
    """
    return WEIGHT * first + (1 - WEIGHT) * as_large(second, first)


def as_large(maps: Tensor, as_those: Tensor) -> Tensor:
    """Bring maps ``(.., C, h, w)`` bilinearly to the height and width of others; themselves where they have it."""
    size = as_those.shape[-2:]
    if maps.shape[-2:] == size:
        return maps
    batch = maps if maps.ndim == 4 else maps[None]
    resized = F.interpolate(batch, tuple(size), mode="bilinear", align_corners=False)
    return resized if maps.ndim == 4 else resized[0]


class MixVal:
    """Counts of the pixels of mixtures: memory does not grow with the images, and the counts are exact.

    The network's classes of the two images by themselves are pseudo-labels. There are two probes: "intra", the pixels
    where both images have the same class, and "inter", those where they differ. A probe scores the share of its pixels,
    over all mixtures, at which the mixture has the first image's class; the value is the mean of both, in [0, 1].

    A probe without any pixel scores 0, since it has shown nothing: a network that finds one class everywhere so gets
    0.5, and one that agrees with itself nowhere, which has no "intra", at most 0.5.

    Args:
        device: Where the counts are taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(4, dtype=torch.long, device=device)  # hits and pixels of intra, then of inter

    def add(self, first: Tensor, second: Tensor, mixed: Tensor) -> None:
        """Add the pixels of a mixture.

        Args:
            first: int64 train ids ``(h, w)`` that the first image has.
            second: Those of the second.
            mixed: Those of the mixture.
        """
        same, hit = first == second, mixed == first
        self._counts += torch.stack([(same & hit).sum(), same.sum(), (~same & hit).sum(), (~same).sum()])

    def value(self) -> float | None:
        """Return the criterion over the mixtures of all processes, each of which must call this; None without any."""
        intra_hits, intra, inter_hits, inter = distributed.all_reduce_sum(self._counts.clone()).tolist()
        if intra + inter == 0:
            return None
        return float(intra_hits / max(intra, 1) + inter_hits / max(inter, 1)) / 2
