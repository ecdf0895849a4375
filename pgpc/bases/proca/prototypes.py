"""ProCA: contrast between pixels and class prototypes, and class-wise thresholds of pseudo-labels.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022; constants and
details are those of the authors' code.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.adaptation.config import ProCAConfig
from pgpc.classes import IGNORE_INDEX
from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32

log = logging.getLogger(__name__)

BINS = 10_000
"""Confidences are counted to 1 / BINS."""


class Prototypes(nn.Module):
    """The mean of all pixels of each class that were ever added, equal on all processes.

    Args:
        num_classes: C.
        dim: D.
    """

    sums: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        # Sums instead of means, and in float64: after a pass over a data set there are 10^8 pixels of a class.
        self.register_buffer("sums", torch.zeros(num_classes, dim, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.float64))

    def means(self) -> Tensor:
        """Return the means, ``(C, D)`` float32; 0 for a class without pixels."""
        return (self.sums / self.counts[:, None].clamp(min=1)).float()

    @torch.no_grad()
    def add(self, sums: Tensor, counts: Tensor) -> None:
        """Take in :func:`class_sums` of all processes; each must call this, with whatever it has."""
        self.sums += distributed.all_reduce_sum(sums)
        self.counts += distributed.all_reduce_sum(counts)

    def add_pixels(self, pixels: Tensor, labels: Tensor) -> None:
        """Take in the pixels of all processes.

        Args:
            pixels: ``(B, D, h, w)`` of this process.
            labels: ``(B, h, w)`` train ids.
        """
        self.add(*class_sums(pixels, labels, len(self.counts)))


class ProCAState(nn.Module):
    """What ProCA remembers from step to step: prototypes, and the thresholds of its pseudo-labels. Buffers only.

    Args:
        config: its label threshold stands in `thresholds` until they are measured.
        num_classes: C.
        dim: channels of the encoder's last features.
    """

    _version = 2
    """Number of the rules by which images are drawn, which PyTorch keeps in state dicts: 1 balanced classes by pixels
    and not at all in stage "source", and scaled target images in their box instead of at their native size."""

    thresholds: Tensor
    """``(C,)`` the confidence that a pseudo-label of each class needs."""

    def __init__(self, config: ProCAConfig, num_classes: int, dim: int) -> None:
        super().__init__()
        self.features = Prototypes(num_classes, dim)
        self.outputs = Prototypes(num_classes, num_classes)
        self.register_buffer("thresholds", torch.full((num_classes,), config.label_threshold))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        """Load the buffers; say so where the images so far were drawn by other rules than those to come."""
        if local_metadata.get("version", self._version) < self._version and distributed.rank() == 0:
            log.warning(
                "This run of ProCA was begun when source images were drawn uniformly before the prototypes and then "
                "balanced by pixels, and target images were scaled from data.target_size. From here on classes are "
                "balanced by images and target images are scaled from their native size, as in the authors' code: the "
                "run comes to something else than without an interruption. Start afresh in another folder for one "
                "rule throughout."
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


@torch.no_grad()
def class_sums(pixels: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the sum and the number of the pixels of each class.

    Args:
        pixels: ``(B, D, h, w)``.
        labels: ``(B, h, w)`` train ids; ignored pixels are in no class.
        num_classes: C.

    Returns:
        ``(C, D)`` and ``(C,)``, float64.
    """
    classes = torch.arange(num_classes, device=labels.device)[:, None]
    pixels = at_least_float32(pixels)
    members = (labels.flatten(1)[:, None] == classes).to(pixels.dtype)  # (B, C, P)
    sums = torch.bmm(members, pixels.flatten(2).transpose(1, 2))
    return sums.double().sum(dim=0), members.double().sum(dim=(0, 2))


def prototype_loss(pixels: Tensor, labels: Tensor, prototypes: Tensor, known: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of pixels, whose scores are their cosine similarities with the prototypes over tau.

    Args:
        pixels: ``(B, D, h, w)``.
        labels: ``(B, h, w)`` train ids.
        prototypes: ``(C, D)``, of any length.
        known: ``(C,)`` bool; the others are no prototypes, and no pixel has their class.
        temperature: tau.

    Returns:
        Scalar, see :func:`mean_cross_entropy`.
    """
    pixels = at_least_float32(pixels)
    dot = torch.matmul(F.normalize(prototypes.to(pixels.dtype), dim=1), pixels.flatten(2)).unflatten(
        2, pixels.shape[2:]
    )
    cosine = dot / pixels.norm(dim=1, keepdim=True).clamp(min=1e-12)
    unknown = ~known[:, None, None]
    return mean_cross_entropy((cosine / temperature).masked_fill(unknown, torch.finfo(cosine.dtype).min), labels)


def prototypes_loss(prototypes: Prototypes, views: Sequence[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """Compare the pixels of some views with the prototypes, which stay as they are.

    Args:
        prototypes: The prototypes.
        views: Pixels ``(B, D, h, w)``, with gradient, and their labels ``(B, h, w)``.
        temperature: tau.

    Returns:
        The sum over the views of :func:`prototype_loss`.
    """
    means, known = prototypes.means(), prototypes.counts > 0
    losses = [prototype_loss(pixels, labels, means, known, temperature) for pixels, labels in views]
    return torch.stack(losses).sum()


def mean_cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy averaged over the *labeled* pixels of all processes.

    Each process returns its part times their number, so that averaging gradients over processes gives the gradient of
    that mean.

    Args:
        logits: ``(B, C, H, W)``.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)``, a factor on each pixel's loss; None is 1 everywhere.

    Returns:
        Scalar; exactly 0, connected to the graph, where no pixel is labeled.
    """
    loss = F.cross_entropy(at_least_float32(logits), labels, ignore_index=IGNORE_INDEX, reduction="none")
    labeled = distributed.all_reduce_sum((labels != IGNORE_INDEX).sum())
    return (loss if weight is None else loss * weight).sum() / labeled.clamp(min=1) * distributed.world_size()


@torch.no_grad()
def target_labels(logits: Tensor, threshold: float) -> Tensor:
    """Return the class of the largest logit where that reaches `threshold`, else "ignore": ``(B, h, w)``.

    The logit itself, not its probability, as in the authors' code.
    """
    largest, labels = at_least_float32(logits).max(dim=1)
    return torch.where(largest >= threshold, labels, IGNORE_INDEX)


@torch.no_grad()
def count_confidences(probability: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Count how many pixels of each class have which confidence.

    Args:
        probability: of the most probable class, in [0, 1], of any shape.
        labels: that class, of the same shape.
        num_classes: C.

    Returns:
        ``(C, BINS)`` int64; bin k is for confidences from k / BINS.
    """
    place = labels * BINS + (probability * BINS).long().clamp(max=BINS - 1)
    return torch.bincount(place.flatten(), minlength=num_classes * BINS).view(num_classes, BINS)


def class_thresholds(counts: Tensor, *, limit: float, share: float) -> Tensor:
    """Return the confidence that a pseudo-label of each class needs: `limit`, or less where a class is seldom so sure.

    Args:
        counts: ``(C, BINS)`` of :func:`count_confidences`.
        limit: the highest threshold, which a class without pixels has.
        share: in [0, 1], of a class's pixels, by rising confidence, below the threshold where that is lower.

    Returns:
        ``(C,)`` float32, exact to 1 / BINS.
    """
    total = counts.sum(dim=1, keepdim=True)
    # The 0-based place of the pixel that has the threshold.
    place = (total.double() * share).long().clamp(max=(total - 1).clamp(min=0))
    quantile = (counts.cumsum(dim=1) <= place).sum(dim=1) / BINS
    return quantile.clamp(max=limit).float()
