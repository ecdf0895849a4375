"""Anchors, positives and negatives of one training step, and the loss over them (Eqs. 5, 8-11)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc import distributed
from pgpc.config import ContrastConfig
from pgpc.contrast.loss import info_nce_terms
from pgpc.contrast.memory import FeatureBank
from pgpc.contrast.reliability import rank_negatives
from pgpc.contrast.sampling import (
    draw_other_classes,
    draw_own_class,
    draw_quota,
    draw_with_replacement,
    gather_rows,
)


class PixelContrast(nn.Module):
    """The memory of pixel features, equal on all processes, and the contrastive loss that reads it.

    Features come as ``(B, D, h, w)`` unit vectors and labels as ``(B, h, w)``, both at stride 4. What the memory takes
    in comes from the teacher; anchors come from the student.

    Args:
        config: the contrast's settings.
        num_classes: C.
    """

    def __init__(self, config: ContrastConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        size, dim = config.bank_size, config.dim
        self.source = FeatureBank(num_classes, size, dim)
        """Row c: source pixels of class c. Their mean is the positive; rows of other classes are negatives of c."""
        self.target_negatives = FeatureBank(num_classes, size, dim)
        """Row c: target pixels that are negatives *of* c."""
        self.target = FeatureBank(num_classes, size, dim) if config.positive == "target_prototype" else None
        """Row c: reliable target pixels with pseudo-label c; only where target prototypes are asked for."""

    @torch.no_grad()
    def remember_source(self, features: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """Add source pixels to the memory of their class (M_c of Eq. 9; the material of Eq. 10).

        Args:
            features: ``(B, D, h, w)`` of the teacher.
            labels: ``(B, h, w)`` train ids; ignored pixels are not remembered.
            generator: in the same state on all processes.
        """
        self._push(self.source, features, self._by_class(labels), generator)

    @torch.no_grad()
    def remember_target(
        self, features: Tensor, logits: Tensor, labels: Tensor, usable: Tensor, reliable: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Add *all* usable target pixels to the memories of the classes whose negatives they are (Eq. 11).

        Args:
            features: ``(B, D, h, w)`` of the teacher.
            logits: ``(B, C, h, w)`` of the teacher.
            labels: ``(B, h, w)`` pseudo-labels.
            usable: ``(B, h, w)`` bool, False on padding and in the margins.
            reliable: ``(B, h, w)`` bool, the pixels of low entropy; matters to target prototypes only.
            generator: in the same state on all processes.
        """
        negative_of = rank_negatives(logits, self.config.r) & usable[:, None]
        self._push(self.target_negatives, features, negative_of.transpose(0, 1).flatten(1), generator)
        if self.target is not None:
            self._push(self.target, features, self._by_class(labels, usable & reliable), generator)

    def loss(
        self, features: Tensor, labels: Tensor, reliable: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """InfoNCE of reliable target pixels against the memory (Eq. 5).

        The mean runs over the classes that have anchors, a prototype and negatives. Each process computes the terms of
        the anchors that it holds, times the number of processes, so that averaging gradients over processes gives the
        gradient of the mean.

        Args:
            features: ``(B, D, h, w)`` of the student, with gradient.
            labels: ``(B, h, w)`` pseudo-labels.
            reliable: ``(B, h, w)`` bool: the anchor candidates among them (Eq. 8).
            generator: in the same state on all processes.

        Returns:
            The loss, a scalar connected to the graph, exactly 0 where no class qualifies; and ``(C,)`` how many anchor
            candidates each class has over all processes.
        """
        config = self.config
        anchor = draw_with_replacement(self._by_class(labels, reliable), config.anchors, generator)
        positive_bank = self.source if self.target is None else self.target
        negatives, has_negatives = self._negatives(generator)
        index = torch.randint(
            config.pool, (self.num_classes, config.anchors, config.negatives), generator=generator,
            device=features.device,
        )
        terms = info_nce_terms(
            _rows(features)[anchor.pixel],  # (C, M, D), Eq. 8
            F.normalize(positive_bank.prototypes(), dim=1),  # (C, D), Eq. 9
            negatives,  # (C, S, D), Eqs. 10 and 11
            index,
            config.temperature,
        )
        counts = (anchor.total > 0) & (positive_bank.filled > 0) & has_negatives  # (C,)
        terms = torch.where(anchor.mine & counts[:, None], terms, 0.0)
        mean = terms.sum() / (config.anchors * counts.sum().clamp(min=1))
        return mean * distributed.world_size(), anchor.total

    def _negatives(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The rows that this step's negatives are drawn from, ``(C, S, D)``, and ``(C,)`` whether there are any.

        Where source and target both have negatives of a class, each gives half.
        """
        pool, size = self.config.pool, self.config.bank_size
        use_source, use_target = "source" in self.config.negative, "target" in self.config.negative
        source, target = self.source.filled, self.target_negatives.filled
        has_source = (source.sum() > source) & use_source  # some other class has rows
        has_target = (target > 0) & use_target
        from_source = self.source.rows.flatten(0, 1)[draw_other_classes(source, size, pool, generator)]
        from_target = self.target_negatives.rows.flatten(0, 1)[draw_own_class(target, size, pool, generator)]
        first_half = torch.arange(pool, device=source.device) < pool // 2
        take_source = torch.where((has_source & has_target)[:, None], first_half, has_source[:, None])
        return torch.where(take_source[..., None], from_source, from_target), has_source | has_target

    def _push(self, bank: FeatureBank, features: Tensor, candidates: Tensor, generator: torch.Generator) -> None:
        draw = draw_quota(candidates, self.config.quota, generator)
        bank.push(gather_rows(_rows(features).float(), draw), draw.total.clamp(max=self.config.quota))

    def _by_class(self, labels: Tensor, among: Tensor | None = None) -> Tensor:
        """``(C, P)`` bool: the pixels of each class."""
        classes = torch.arange(self.num_classes, device=labels.device)[:, None]
        mask = labels.flatten() == classes
        return mask if among is None else mask & among.flatten()


def _rows(features: Tensor) -> Tensor:
    """``(B, D, h, w)`` -> ``(P, D)``, pixels in the order of ``labels.flatten()``."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)
