"""Pseudo-labels of target images, and how much they count."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32


class PseudoLabels(NamedTuple):
    """What the teacher says of the target images of a step.

    Attributes:
        labels: The most probable class of each pixel (Eq. 2): ``(B, H, W)``, int64.
        weight: The share q of Eq. 3 on pixels that count, 0 elsewhere: ``(B, H, W)``, float32.
        usable: Whether a pixel lies neither on padding nor in the margins: ``(B, H, W)``, bool.
    """

    labels: Tensor
    weight: Tensor
    usable: Tensor


@torch.no_grad()
def pseudo_labels(
    logits: Tensor, valid: Tensor, *, confidence: float, ignore_top: int, ignore_bottom: int
) -> PseudoLabels:
    """Turn the teacher's scores into labels and weights (Eqs. 2, 3).

    The share q of pixels whose maximum probability reaches `confidence` is taken over all pixels of the step's batch,
    those of all processes and in the margins included.

    Args:
        logits: Logits ``(B, C, H, W)`` of the teacher, at the size of the images.
        valid: Mask ``(B, H, W)``, bool: False on padding.
        confidence: kappa, in (0, 1).
        ignore_top: Number of rows at the top that get weight 0.
        ignore_bottom: Number of rows at the bottom that get weight 0.
    """
    probability, labels = at_least_float32(logits).softmax(dim=1).max(dim=1)
    confident = (probability >= confidence).sum(dtype=torch.float64)
    # All processes hold the same number of pixels.
    q = distributed.all_reduce_sum(confident) / (labels.numel() * distributed.world_size())
    usable = valid.clone()
    usable[:, :ignore_top] = False
    usable[:, labels.shape[1] - ignore_bottom :] = False
    return PseudoLabels(labels, usable * q.float(), usable)
