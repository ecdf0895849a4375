"""Anchors, positives and negatives of one training step, and the loss over them (Eqs. 5, 8-11)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.contrast.config import ContrastConfig
from pgpc.contrast.loss import info_nce_terms, similarities, terms
from pgpc.contrast.memory import FeatureBank, PrototypeBank
from pgpc.contrast.reliability import rank_negatives
from pgpc.contrast.sampling import (
    Projection,
    draw_other_classes,
    draw_own_class,
    draw_quota,
    draw_with_replacement,
    gather_rows,
    take_pixels,
)
from pgpc.runtime import distributed


class PixelContrast(nn.Module):
    """The memory of pixel features, equal on all processes, and the contrastive loss that reads it.

    Features come as ``(B, D, h, w)`` unit vectors, or with `project` as ``(B, F, h, w)`` of which that makes the unit
    vectors of the pixels that are drawn, ``(..., F)`` to ``(..., D)``: the others need none. Labels come as
    ``(B, h, w)``, both at the same stride. What the memory takes in comes from the teacher, or where so
    set, of the source, from the student; anchors come from the student. The attributes `source`, `target_negatives` and
    `target` are the parts of the memory; one that the settings never read is None.

    Args:
        config: the contrast's settings.
        num_classes: C.
    """

    def __init__(self, config: ContrastConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        from_source = config.positive == "source_prototype"
        pixels = config.negative if config.family != "pixel_to_prototype" else ()

        def bank(kind: type[FeatureBank], read: bool) -> FeatureBank | None:
            return kind(num_classes, config.bank_size, config.dim) if read else None

        self.source = bank(PrototypeBank if from_source else FeatureBank, from_source or "source" in pixels)
        """Row c: source pixels of class c: positives of c, and negatives of the other classes."""
        self.target_negatives = bank(FeatureBank, "target" in pixels)
        """Row c: target pixels that are negatives *of* c."""
        self.target = bank(PrototypeBank, not from_source)
        """Row c: reliable target pixels with pseudo-label c, of which target prototypes are the means."""

    @torch.no_grad()
    def remember_source(
        self, features: Tensor, labels: Tensor, generator: torch.Generator, project: Projection | None = None
    ) -> None:
        """Add source pixels to the memory of their class (M_c of Eq. 9; the material of Eq. 10), if `source` is read.

        Args:
            features: ``(B, D, h, w)``, see the class.
            labels: ``(B, h, w)`` train ids; ignored pixels are not remembered.
            generator: in the same state on all processes.
            project: of the teacher; see the class.
        """
        if self.source is not None:
            self._push(self.source, features, self._by_class(labels), generator, project)

    @torch.no_grad()
    def remember_target(
        self,
        features: Tensor,
        logits: Tensor,
        labels: Tensor,
        usable: Tensor,
        reliable: Tensor,
        generator: torch.Generator,
        project: Projection | None = None,
    ) -> None:
        """Add *all* usable target pixels to the memories of the classes whose negatives they are (Eq. 11).

        Args:
            features: ``(B, D, h, w)`` of the teacher.
            logits: ``(B, C, h, w)`` of the teacher.
            labels: ``(B, h, w)`` pseudo-labels.
            usable: ``(B, h, w)`` bool, False on padding and in the margins.
            reliable: ``(B, h, w)`` bool, the pixels of low entropy; matters to target prototypes only.
            generator: in the same state on all processes.
            project: of the teacher; see the class.
        """
        if self.target_negatives is not None:
            negative_of = rank_negatives(logits, self.config.r) & usable[:, None]
            self._push(self.target_negatives, features, negative_of.transpose(0, 1).flatten(1), generator, project)
        if self.target is not None:
            self._push(self.target, features, self._by_class(labels, usable & reliable), generator, project)

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        reliable: Tensor,
        generator: torch.Generator,
        project: Projection | None = None,
    ) -> tuple[Tensor, Tensor]:
        """InfoNCE of reliable target pixels against the memory (Eq. 5).

        Positives and negatives are those of ``contrast.family`` (Fig. 1): prototype and drawn pixels, drawn pixels
        twice, or the prototype of the class and of all others.

        The mean runs over the classes that have anchors, positives and negatives. Each process computes the terms of
        the anchors that it holds, times the number of processes, so that averaging gradients over processes gives the
        gradient of the mean.

        Args:
            features: ``(B, D, h, w)`` of the student, with gradient.
            labels: ``(B, h, w)`` pseudo-labels.
            reliable: ``(B, h, w)`` bool: the anchor candidates among them (Eq. 8).
            generator: in the same state on all processes.
            project: of the student; see the class.

        Returns:
            The loss, a scalar connected to the graph, exactly 0 where no class qualifies; and ``(C,)`` how many anchor
            candidates each class has over all processes.
        """
        draw = draw_with_replacement(self._by_class(labels, reliable), self.config.anchors, generator)
        anchors = take_pixels(features, draw.pixel, project)  # (C, M, D), Eq. 8
        memory = self.source if self.target is None else self.target  # of the positives
        if self.config.family == "pixel_to_prototype":
            terms_CM, has_negatives = self._against_prototypes(anchors, memory)
        else:
            terms_CM, has_negatives = self._against_pixels(anchors, memory, generator)
        counts = (draw.total > 0) & (memory.filled > 0) & has_negatives  # (C,)
        terms_CM = torch.where(draw.mine & counts[:, None], terms_CM, 0.0)
        divisor = self.num_classes if self.config.average == "all" else counts.sum().clamp(min=1)
        mean = terms_CM.sum() / (self.config.anchors * divisor)
        return mean * distributed.world_size(), draw.total

    def _against_pixels(
        self, anchors: Tensor, memory: PrototypeBank, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The summands of Eq. 5 with pixels as negatives, ``(C, M)``, and ``(C,)`` whether there are any."""
        config = self.config
        if config.family == "hybrid":
            positives = F.normalize(memory.prototypes(), dim=1)  # (C, D), Eq. 9
        else:
            row = draw_own_class(memory.filled, config.bank_size, config.anchors, generator)
            positives = _take(memory, row)  # (C, M, D)
        negatives, has_negatives = self._negatives(generator)  # (C, S, D), Eqs. 10 and 11
        if config.negatives_per == "class":
            return terms(*similarities(anchors, positives, negatives, config.temperature)), has_negatives
        index = torch.randint(
            config.pool,
            (self.num_classes, config.anchors, config.negatives),
            generator=generator,
            device=anchors.device,
        )
        return info_nce_terms(anchors, positives, negatives, index, config.temperature), has_negatives

    def _against_prototypes(self, anchors: Tensor, memory: PrototypeBank) -> tuple[Tensor, Tensor]:
        """The summands of Eq. 5 with the prototypes of all other classes as negatives, and whether there are any."""
        prototypes = F.normalize(memory.prototypes(), dim=1)
        own = torch.eye(self.num_classes, dtype=torch.bool, device=anchors.device)
        others = (memory.filled > 0) & ~own  # (C, C)
        positive, similarity = similarities(
            anchors, prototypes, prototypes.expand(self.num_classes, -1, -1), self.config.temperature
        )
        return terms(positive, similarity, others), others.any(dim=1)

    def _negatives(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The rows that this step's negatives are drawn from, ``(C, S, D)``, and ``(C,)`` whether there are any.

        Where source and target both have negatives of a class, each gives half.
        """
        size = self.config.bank_size
        pool = self.config.pool if self.config.negatives_per == "anchor" else self.config.negatives
        rows, has = [], []
        if "source" in self.config.negative:
            filled = self.source.filled
            rows.append(_take(self.source, draw_other_classes(filled, size, pool, generator)))
            has.append(filled.sum() > filled)  # some other class has rows
        if "target" in self.config.negative:
            filled = self.target_negatives.filled
            rows.append(_take(self.target_negatives, draw_own_class(filled, size, pool, generator)))
            has.append(filled > 0)
        if len(rows) == 1:
            return rows[0], has[0]
        first_half = torch.arange(pool, device=has[0].device) < pool // 2
        take_source = torch.where((has[0] & has[1])[:, None], first_half, has[0][:, None])
        return torch.where(take_source[..., None], *rows), has[0] | has[1]

    def _push(
        self,
        bank: FeatureBank,
        features: Tensor,
        candidates: Tensor,
        generator: torch.Generator,
        project: Projection | None,
    ) -> None:
        draw = draw_quota(candidates, self.config.quota, generator)
        bank.push(gather_rows(features, draw, project), draw.total.clamp(max=self.config.quota))

    def _by_class(self, labels: Tensor, among: Tensor | None = None) -> Tensor:
        """``(C, P)`` bool: the pixels of each class."""
        classes = torch.arange(self.num_classes, device=labels.device)[:, None]
        mask = labels.flatten() == classes
        return mask if among is None else mask & among.flatten()


def _take(memory: FeatureBank, row: Tensor) -> Tensor:
    """``(C, N)`` index into the memory flattened to ``(C * S, D)`` -> ``(C, N, D)``."""
    # On whole rows, faster than indexing with brackets.
    return memory.rows.flatten(0, 1).index_select(0, row.flatten()).unflatten(0, row.shape)
