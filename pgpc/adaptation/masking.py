"""Masked images, on which the student must guess from context (MIC)."""

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
        images: ``(B, 3, H, W)`` normalized; masked pixels are 0, the mean color.
        labels: ``(B, H, W)`` int64.
        weight: ``(B, H, W)`` float32, per-pixel weight of the loss.
    """

    images: Tensor
    labels: Tensor
    weight: Tensor


def mask_blocks(images: Tensor, *, block: int, share: float, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Set random squares of each image to 0.

    The grid has ``round(H / block)`` times ``round(W / block)`` cells, stretched over the image.

    Args:
        images: ``(B, 3, H, W)`` normalized.
        block: side of a square in pixels.
        share: probability that a square is masked.
        rngs: one generator per image.
    """
    height, width = images.shape[2:]
    grid = (max(round(height / block), 1), max(round(width / block), 1))
    kept = torch.from_numpy(np.stack([rng.random(grid) > share for rng in rngs]))[:, None]
    kept = kept.to(images.device, images.dtype, non_blocking=True)
    return images * F.interpolate(kept, (height, width), mode="nearest")


def every_second(source: Tensor, target: Tensor, first: int) -> Tensor:
    """Half of each domain: images with an even number from the source, the others from the target.

    Args:
        source: ``(B, ...)`` of this process's source images.
        target: the same of its target images.
        first: number of this process's first image, over all steps and processes.
    """
    return torch.stack([source[i] if (first + i) % 2 == 0 else target[i] for i in range(len(source))])
