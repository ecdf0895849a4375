"""Thing-class feature distance to the frozen initial encoder (Hoyer et al., DAFormer, CVPR 2022)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32


def downscale_labels(labels: Tensor, cells: tuple[int, int], share: float, num_classes: int) -> Tensor:
    """Label coarse cells: with the class that covers at least `share` of a cell, else with "ignore".

    Args:
        labels: Train ids ``(B, H, W)``.
        cells: h and w, the numbers of cells; where they do not divide H and W, pixels at edges count on both sides.
        share: Least share of the winning class, in (0.5, 1].
        num_classes: C, the number of classes.

    Returns:
        ``(B, h, w)`` int64.
    """
    index = torch.where(labels == IGNORE_INDEX, num_classes, labels)
    # Not F.one_hot, which on a CPU looks for ids that are too large, and waits for what it finds.
    one_hot = (index[:, None] == torch.arange(num_classes + 1, device=labels.device)[:, None, None]).float()
    pooled = F.avg_pool2d(one_hot, labels.shape[-1] // cells[1])
    if tuple(pooled.shape[2:]) != cells:  # patches that the image was stretched for
        pooled = F.adaptive_avg_pool2d(one_hot, cells)
    best, winner = pooled.max(dim=1)
    return torch.where((winner == num_classes) | (best < share), IGNORE_INDEX, winner)


def feature_distance(
    features: Tensor,
    initial: Tensor,
    labels: Tensor,
    *,
    things: Sequence[int],
    share: float,
    num_classes: int,
    first_image: int = 0,
) -> Tensor:
    """Compute the mean Euclidean distance of the encoder's last features from the initial ones, on thing-class cells.

    The mean runs over the cells of all processes; each returns its part times their number, so that averaging
    gradients over processes gives the gradient of that mean. So does the mean over parts, where a process takes its
    images in several.

    Args:
        features: Features ``(b, D, h, w)`` of the student's encoder, with gradient: of all B images, or of one of B / b
            parts of them.
        initial: Features ``(b, D, h, w)`` of the frozen encoder, on the same source images.
        labels: Labels ``(B, H, W)`` of the source.
        things: Train ids of the thing classes.
        share: Least share of a cell that a class covers, see :func:`downscale_labels`.
        num_classes: C, the number of classes.
        first_image: Number of the first image that the features are of.

    Returns:
        A scalar; exactly 0, connected to the graph, where no cell qualifies.
    """
    coarse = downscale_labels(labels, (features.shape[2], features.shape[3]), share, num_classes)
    mask = torch.isin(coarse, _ids(tuple(things), coarse.device))
    cells = distributed.all_reduce_sum(mask.sum())
    mask, num_parts = mask[first_image : first_image + len(features)], len(labels) // len(features)
    squared = (at_least_float32(features) - at_least_float32(initial)).square().sum(dim=1)
    # The gradient of a square root at 0 is infinite: keep cells that do not count, and equal features, away from it.
    counts = mask & (squared > 0)
    distance = torch.where(counts, torch.where(counts, squared, 1.0).sqrt(), 0.0)
    return distance.sum() / cells.clamp(min=1) * (distributed.world_size() * num_parts)


@functools.cache
def _ids(things: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(things, device=device)
