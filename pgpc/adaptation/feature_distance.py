"""Thing-class feature distance to the frozen initial encoder (DAFormer)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.runtime import distributed


def downscale_labels(labels: Tensor, factor: int, share: float, num_classes: int) -> Tensor:
    """Labels of coarse cells: the class that covers at least `share` of a cell, else "ignore".

    Args:
        labels: ``(B, H, W)`` train ids; H and W multiples of `factor`.
        factor: side of a cell in pixels.
        share: least share of the winning class.
        num_classes: C.

    Returns:
        ``(B, H / factor, W / factor)`` int64.
    """
    index = torch.where(labels == IGNORE_INDEX, num_classes, labels)
    one_hot = F.one_hot(index, num_classes + 1).permute(0, 3, 1, 2).float()
    best, winner = F.avg_pool2d(one_hot, factor).max(dim=1)
    return torch.where((winner == num_classes) | (best < share), IGNORE_INDEX, winner)


def feature_distance(
    features: Tensor, initial: Tensor, labels: Tensor, *, things: Sequence[int], share: float, num_classes: int
) -> Tensor:
    """Mean Euclidean distance between the encoder's last features and the initial encoder's, on thing-class cells.

    The mean runs over the cells of all processes; each returns its part times their number, so that averaging
    gradients over processes gives the gradient of that mean.

    Args:
        features: ``(B, D, h, w)`` of the student, with gradient.
        initial: ``(B, D, h, w)`` of the frozen encoder, on the same source images.
        labels: ``(B, H, W)`` source labels, W = w * factor.
        things: train ids of the thing classes.
        share: see :func:`downscale_labels`.
        num_classes: C.

    Returns:
        Scalar; exactly 0, connected to the graph, where no cell qualifies.
    """
    coarse = downscale_labels(labels, labels.shape[-1] // features.shape[-1], share, num_classes)
    mask = torch.isin(coarse, _ids(tuple(things), coarse.device))
    cells = distributed.all_reduce_sum(mask.sum())
    squared = (features.float() - initial.float()).square().sum(dim=1)
    # The gradient of a square root at 0 is infinite: keep cells that do not count, and equal features, away from it.
    counts = mask & (squared > 0)
    distance = torch.where(counts, torch.where(counts, squared, 1.0).sqrt(), 0.0)
    return distance.sum() / cells.clamp(min=1) * distributed.world_size()


@functools.cache
def _ids(things: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(things, device=device)
