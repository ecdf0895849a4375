"""The memory bank: how full it is, how old its rows are, and how many come from a head that had not learned."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.bases.teacher_forward import TargetPixels
from pgpc.contrast import FeatureBank, PixelContrast, rank_negatives
from pgpc.contrast.config import ContrastConfig


class BankAge(NamedTuple):
    """Rows of one class.

    Attributes:
        age: About how many iterations ago the oldest was enqueued; None where it is not known.
        stale: About which share, in percent, was enqueued before ``contrast.start``; None where it is not known.
    """

    age: float | None
    stale: float | None


def banks_of(memory: PixelContrast) -> dict[str, FeatureBank]:
    """Return the parts of the memory bank by their names in a checkpoint."""
    parts = {"source": memory.source, "target_negatives": memory.target_negatives, "target": memory.target}
    return {name: bank for name, bank in parts.items() if bank is not None}


def candidates(contrast: ContrastConfig, pixels: TargetPixels, source: Tensor, num_classes: int) -> dict[str, Tensor]:
    """Count the pixels of one step that each bank could take in, ``(C,)`` by bank.

    Args:
        contrast: The settings.
        pixels: What the teacher says of the target.
        source: Labels ``(B, h, w)`` of the source at the stride of what is projected.
        num_classes: C, the number of classes.
    """
    negative_of = rank_negatives(pixels.logits, contrast.r) & pixels.usable[:, None]
    in_source, in_target = source[source < num_classes], pixels.labels[pixels.usable & pixels.reliable]
    return {
        "source": torch.bincount(in_source, minlength=num_classes).cpu(),
        "target_negatives": negative_of.sum(dim=(0, 2, 3)).cpu(),
        "target": torch.bincount(in_target, minlength=num_classes).cpu(),
    }


def age_of(rows: int, per_step: float, contrast: ContrastConfig, iteration: int) -> BankAge:
    """Estimate how old the rows of a class are; a row does not say itself when it was enqueued.

    The rows of a first-in, first-out bank are the last that were enqueued: at a steady rate, rows / rate iterations.

    Args:
        rows: Rows in use.
        per_step: Rows that an iteration enqueues, on average.
        contrast: When the bank began to fill, and when the projection head began to learn.
        iteration: Optimizer steps done.
    """
    begun = max(contrast.start - contrast.fill, 0)
    if contrast.clear_at_start and iteration > contrast.start:
        begun = contrast.start
    if rows == 0 or per_step == 0:
        return BankAge(None, None)
    since_start = max(iteration - contrast.start, 0)
    stale = 0.0 if begun >= contrast.start else max(0.0, 1 - per_step * since_start / rows)
    return BankAge(min(rows / per_step, float(iteration - begun)), 100 * stale)
