"""Masked images, on which the student must guess from context (Hoyer et al., MIC, CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Masked(NamedTuple):
    """Masked images and their targets.

    Attributes:
        images: Normalized images ``(B, 3, H, W)``; masked pixels are 0, the mean color.
        labels: Train ids ``(B, H, W)``, int64.
        weight: Weight of each pixel in the loss, ``(B, H, W)``.
        hidden: Patches that are hidden instead of pixels, ``(B, h, w)`` bool; None where it is pixels.
    """

    images: Tensor
    labels: Tensor
    weight: Tensor
    hidden: Tensor | None = None


def mask_blocks(images: Tensor, *, block: int, share: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Set random squares of each image to 0.

    The grid has ``round(H / block)`` times ``round(W / block)`` cells, stretched over the image.

    Args:
        images: Normalized images ``(B, 3, H, W)``.
        block: Side of a square in pixels.
        share: Probability that a square is masked, in [0, 1].
        rngs: One generator per image.

    Returns:
        ``(B, 3, H, W)``.
    """
    height, width = images.shape[2:]
    grid = (max(round(height / block), 1), max(round(width / block), 1))
    kept = torch.from_numpy(np.stack([rng.random(grid) > share for rng in rngs]))[:, None]
    kept = kept.to(images.device, images.dtype, non_blocking=True)
    return images * F.interpolate(kept, (height, width), mode="nearest")


def hidden_patches(grid: tuple[int, int], *, share: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Choose the patches of each image that are hidden from a plain vision transformer (VFM-UDA).

    Args:
        grid: Rows and columns of its patches.
        share: Probability that a patch is hidden, in [0, 1].
        rngs: One generator per image.

    Returns:
        ``(B, *grid)`` bool, on the CPU.
    """
    return torch.from_numpy(np.stack([rng.random(grid) < share for rng in rngs]))


def every_second(source: Tensor, target: Tensor, first: int) -> Tensor:
    """Take half of each domain: images with an even number from the source, the others from the target.

    Args:
        source: Tensor ``(B, ...)`` of this process's source images.
        target: The same of its target images.
        first: Number of this process's first image, over all steps and processes.

    Returns:
        ``(B, ...)``.
    """
    return torch.stack([source[i] if (first + i) % 2 == 0 else target[i] for i in range(len(source))])
