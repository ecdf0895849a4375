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
    draw_other_classes_by_pixels,
    draw_own_class,
    draw_quota,
    draw_with_replacement,
    gather_rows,
    take_pixels,
)
from pgpc.runtime import distributed


class PixelContrast(nn.Module):
    """The memory bank of pixel features, equal on all processes, and the contrastive loss that reads it.

    Features come as ``(B, D, h, w)`` unit vectors, or with `project` as ``(B, F, h, w)`` of which that makes the unit
    vectors of the pixels that are drawn, ``(..., F)`` to ``(..., D)``: the others need none. Labels come as
    ``(B, h, w)``, both at the same stride. What is enqueued comes from the teacher or, of the source and where the
    settings say so, from the student; anchors come from the student. The memory bank has up to three parts,
    one for each of the attributes; a part that the settings never read is None. Only `enqueue_source` and
    `enqueue_target` change it; the loss does not.

    Args:
        config: Settings of the contrast.
        num_classes: C, the number of classes.

    Attributes:
        source: Row c holds source pixels of class c: positives of c, and negatives of the other classes.
        target_negatives: Row c holds target pixels that are negatives *of* c.
        target: Row c holds reliable target pixels with pseudo-label c, of which target prototypes are the means.
        source_pixels: Number of pixels of each class that `enqueue_source` was shown by all processes, ``(C,)``; None
            where negatives are not drawn by it.
    """

    source: FeatureBank | None
    target_negatives: FeatureBank | None
    target: PrototypeBank | None
    source_pixels: Tensor | None

    def __init__(self, config: ContrastConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        from_source = config.positive == "source_prototype"
        pixels = config.negative if config.family != "pixel_to_prototype" else ()
        shape = (num_classes, config.bank_size, config.dim)
        if from_source:
            self.source = PrototypeBank(*shape)
        else:
            self.source = FeatureBank(*shape) if "source" in pixels else None
        self.target_negatives = FeatureBank(*shape) if "target" in pixels else None
        self.target = None if from_source else PrototypeBank(*shape)
        by_pixel = "source" in pixels and config.source_negatives == "pixel"
        self.register_buffer("source_pixels", torch.zeros(num_classes, dtype=torch.long) if by_pixel else None)

    @torch.no_grad()
    def enqueue_source(
        self, features: Tensor, labels: Tensor, generator: torch.Generator, project: Projection | None = None
    ) -> None:
        """Add source pixels to the bank of their class (M_c of Eq. 9; the material of Eq. 10), if `source` is read.

        Args:
            features: Features ``(B, D, h, w)``, see the class.
            labels: Train ids ``(B, h, w)``; ignored pixels are not enqueued.
            generator: Generator of the draw, in the same state on all processes.
            project: Projection of the teacher, see the class.
        """
        if self.source is not None:
            seen = self._enqueue(self.source, features, self._by_class(labels), generator, project)
            if self.source_pixels is not None:
                self.source_pixels.add_(seen)

    def clear(self) -> None:
        """Forget all rows; how frequent classes are is still known."""
        for bank in (self.source, self.target_negatives, self.target):
            if bank is not None:
                bank.clear()

    @torch.no_grad()
    def enqueue_target(
        self,
        features: Tensor,
        logits: Tensor,
        labels: Tensor,
        usable: Tensor,
        reliable: Tensor,
        generator: torch.Generator,
        project: Projection | None = None,
    ) -> None:
        """Add *all* usable target pixels to the banks of the classes whose negatives they are (Eq. 11).

        Where the positives are target prototypes, reliable ones are added to the bank of their pseudo-label, too.

        Args:
            features: Features ``(B, D, h, w)`` of the teacher.
            logits: Logits ``(B, C, h, w)`` of the teacher.
            labels: Pseudo-labels ``(B, h, w)``.
            usable: Mask ``(B, h, w)``, bool: False on padding and in the margins.
            reliable: Mask ``(B, h, w)``, bool: the pixels of low entropy; matters to target prototypes only.
            generator: Generator of the draw, in the same state on all processes.
            project: Projection of the teacher, see the class.
        """
        if self.target_negatives is not None:
            negative_of = rank_negatives(logits, self.config.r) & usable[:, None]
            self._enqueue(self.target_negatives, features, negative_of.transpose(0, 1).flatten(1), generator, project)
        if self.target is not None:
            self._enqueue(self.target, features, self._by_class(labels, usable & reliable), generator, project)

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        reliable: Tensor,
        generator: torch.Generator,
        project: Projection | None = None,
        *,
        first_image: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Compute InfoNCE of reliable target pixels against the memory bank (Eq. 5), which stays as it is.

        Positives and negatives are those of ``contrast.family`` (Fig. 1): prototype and drawn pixels, drawn pixels
        twice, or the prototype of the class and of all others.

        The mean runs over the classes that have anchors, positives and negatives. Each process computes the terms of
        the anchors that it holds, times the number of processes, so that averaging gradients over processes gives the
        gradient of the mean. The images of a process may come in parts, each with a call of its own and a generator in
        the same state: what holds of processes then holds of parts.

        Args:
            features: Features ``(b, D, h, w)`` of the student, with gradient: of all B images, or of one of B / b
                parts of them.
            labels: Pseudo-labels ``(B, h, w)``.
            reliable: Mask ``(B, h, w)``, bool: the candidates for anchors (Eq. 8).
            generator: Generator of all draws, in the same state on all processes.
            project: Projection of the student, see the class.
            first_image: Number of the first image that `features` are of.

        Returns:
            The loss, a scalar connected to the graph, exactly 0 where no class qualifies; and how many candidates for
            anchors each class has over all processes, ``(C,)``.
        """
        draw = draw_with_replacement(self._by_class(labels, reliable), self.config.anchors, generator)
        if len(features) < len(labels):
            per_image = labels[0].numel()
            draw = draw.among(first_image * per_image, len(features) * per_image)
        anchors = take_pixels(features, draw.pixel, project)  # (C, M, D), Eq. 8
        bank = self._bank_of_positives()
        if self.config.family == "pixel_to_prototype":
            summands, has_negatives = self._against_prototypes(anchors, bank)
        else:
            summands, has_negatives = self._against_pixels(anchors, bank, generator)
        counts = (draw.total > 0) & (bank.filled > 0) & has_negatives  # (C,)
        summands = torch.where(draw.mine & counts[:, None], summands, 0.0)  # (C, M)
        divisor = self.num_classes if self.config.average == "all" else counts.sum().clamp(min=1)
        mean = summands.sum() / (self.config.anchors * divisor)
        return mean * (distributed.world_size() * (len(labels) // len(features))), draw.total

    def _bank_of_positives(self) -> PrototypeBank:
        bank = self.source if self.target is None else self.target
        assert isinstance(bank, PrototypeBank), "the bank of the positives has prototypes"
        return bank

    def _against_pixels(
        self, anchors: Tensor, bank: PrototypeBank, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Compute the summands of Eq. 5 with pixels as negatives, ``(C, M)``, and whether there are any, ``(C,)``."""
        config = self.config
        if config.family == "hybrid":
            positives = F.normalize(bank.prototypes(), dim=1)  # (C, D), Eq. 9
        else:
            row = draw_own_class(bank.filled, config.bank_size, config.anchors, generator)
            positives = _take(bank, row)  # (C, M, D)
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

    def _against_prototypes(self, anchors: Tensor, bank: PrototypeBank) -> tuple[Tensor, Tensor]:
        """Compute the same with the prototypes of all other classes as negatives."""
        prototypes = F.normalize(bank.prototypes(), dim=1)
        own = torch.eye(self.num_classes, dtype=torch.bool, device=anchors.device)
        others = (bank.filled > 0) & ~own  # (C, C)
        positive, similarity = similarities(
            anchors, prototypes, prototypes.expand(self.num_classes, -1, -1), self.config.temperature
        )
        return terms(positive, similarity, others), others.any(dim=1)

    def _negatives(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the rows that negatives are taken from, ``(C, S, D)``, and tell whether there are any, ``(C,)``.

        Where source and target both have negatives of a class, each gives half.
        """
        size = self.config.bank_size
        pool = self.config.pool if self.config.negatives_per == "anchor" else self.config.negatives
        rows, has = [], []
        if "source" in self.config.negative:
            assert self.source is not None, "what negatives are drawn from is part of the memory bank"
            filled = self.source.filled
            if self.source_pixels is None:
                row = draw_other_classes(filled, size, pool, generator)
            else:
                row = draw_other_classes_by_pixels(filled, self.source_pixels, size, pool, generator)
            rows.append(_take(self.source, row))
            has.append(filled.sum() > filled)  # some other class has rows
        if "target" in self.config.negative:
            assert self.target_negatives is not None, "what negatives are drawn from is part of the memory bank"
            filled = self.target_negatives.filled
            rows.append(_take(self.target_negatives, draw_own_class(filled, size, pool, generator)))
            has.append(filled > 0)
        if len(rows) == 1:
            return rows[0], has[0]
        first_half = torch.arange(pool, device=has[0].device) < pool // 2
        take_source = torch.where((has[0] & has[1])[:, None], first_half, has[0][:, None])
        return torch.where(take_source[..., None], rows[0], rows[1]), has[0] | has[1]

    def _enqueue(
        self,
        bank: FeatureBank,
        features: Tensor,
        candidates: Tensor,
        generator: torch.Generator,
        project: Projection | None,
    ) -> Tensor:
        """Add some of the candidates to a bank; return how many there were of each class over all processes, (C,)."""
        draw = draw_quota(candidates, self.config.quota, generator)
        bank.enqueue(gather_rows(features, draw, project), draw.total.clamp(max=self.config.quota))
        return draw.total

    def _by_class(self, labels: Tensor, among: Tensor | None = None) -> Tensor:
        """Return the pixels of each class, ``(C, P)`` bool."""
        classes = torch.arange(self.num_classes, device=labels.device)[:, None]
        mask = labels.flatten() == classes
        return mask if among is None else mask & among.flatten()


def _take(bank: FeatureBank, row: Tensor) -> Tensor:
    """Return rows of a bank, ``(C, N, D)``, by their index ``(C, N)`` into the bank flattened to ``(C * S, D)``."""
    # On whole rows, faster than indexing with brackets.
    taken: Tensor = bank.rows.flatten(0, 1).index_select(0, row.flatten()).unflatten(0, row.shape)
    return taken
