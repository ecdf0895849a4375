"""The passes that a training step is made of: losses on labeled pixels, and what the teacher sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.adaptation.pseudo_labels import PseudoLabels, pseudo_labels
from pgpc.adaptation.teacher import teacher_mode
from pgpc.bases.state import TrainingState
from pgpc.classes import IGNORE_INDEX
from pgpc.contrast import reliable
from pgpc.data.loader import Batch
from pgpc.models.hrda import draw_detail_box
from pgpc.models.student import Outputs, View
from pgpc.runtime.seeding import numpy_generator


class TeacherPixels(NamedTuple):
    """What the contrast takes from the teacher's view of the target images, at the stride of what is projected.

    Attributes:
        hidden: ``(B, hidden, h, w)``, to be projected where it is read.
        logits: ``(B, C, h, w)``.
        labels: ``(B, h, w)`` pseudo-labels.
        usable: ``(B, h, w)`` bool, neither padding nor in the margins.
        reliable: ``(B, h, w)`` bool, usable and of low entropy: the candidates of Eq. 8.
    """

    hidden: Tensor
    logits: Tensor
    labels: Tensor
    usable: Tensor
    reliable: Tensor


class TeacherView(NamedTuple):
    """What the teacher sees in the images of a step.

    Attributes:
        pseudo: labels and weights of the target, at the size of the images.
        pixels: the target's material of the contrast; None while nothing is remembered.
        source: that of the source, ``(B, hidden, h, w)``; None where it is not the teacher's that is remembered.
    """

    pseudo: PseudoLabels
    pixels: TeacherPixels | None
    source: Tensor | None


@torch.no_grad()
def look(state: TrainingState, batch: Batch, *, project: bool) -> TeacherView:
    """The teacher on the clean target images (Eqs. 2, 3 and 7) and, where it is to be remembered, on the source."""
    adaptation, contrast = state.config.adaptation, state.config.contrast
    teacher_mode(state.teacher)
    views = [View(batch.target_images, project=project)]
    if project and contrast.source_from == "teacher" and state.contrast.source is not None:
        views.append(View(batch.source_images, decode=False, project=True))
    output, *source = state.teacher(*views)
    logits = upsample(output.logits, batch.target_images.shape[2:], state.student.segmenter.align_corners)
    pseudo = pseudo_labels(
        logits,
        batch.target_valid,
        confidence=adaptation.confidence,
        ignore_top=adaptation.ignore_top,
        ignore_bottom=adaptation.ignore_bottom,
    )
    if not project:
        return TeacherView(pseudo, None, None)
    sure = pseudo.usable & reliable(logits, contrast.eta, by=contrast.reliable_by, per=contrast.reliable_per)
    logits, labels, usable, sure = (
        at_stride_of(output.hidden, x) for x in (output.logits, pseudo.labels, pseudo.usable, sure)
    )
    pixels = TeacherPixels(output.hidden, logits, labels, usable, sure)
    return TeacherView(pseudo, pixels, source[0].hidden if source else None)


@torch.no_grad()
def remember(state: TrainingState, batch: Batch, view: TeacherView, draws: torch.Generator) -> None:
    """Add the teacher's features to the memory (the material of Eqs. 9, 10 and 11)."""
    if view.source is not None:
        _remember_source(state, batch, view.source, draws)
    state.contrast.remember_target(*view.pixels, draws, state.teacher.unit_vectors)


@torch.no_grad()
def remember_source_of_student(
    state: TrainingState, batch: Batch, features: Sequence[Tensor], draws: torch.Generator
) -> None:
    """Add the source features of the student's encoder, projected by the teacher's head, to the memory."""
    if state.contrast.source is None:
        return
    with state.teacher.autocast(batch.source_images.device):
        hidden = state.teacher.projection.hidden(state.teacher.segmenter.projected(features))
    _remember_source(state, batch, hidden, draws)


def _remember_source(state: TrainingState, batch: Batch, hidden: Tensor, draws: torch.Generator) -> None:
    labels = at_stride_of(hidden, batch.source_labels)
    state.contrast.remember_source(hidden, labels, draws, state.teacher.unit_vectors)


def contrast_loss(
    state: TrainingState,
    hidden: Tensor,
    pixels: TeacherPixels,
    reliable: Tensor,
    draws: torch.Generator,
    log: dict[str, Tensor],
) -> Tensor:
    """The weighted loss of the anchors (Eq. 5).

    Args:
        state: whose student `hidden` comes from, whose memory is read.
        hidden: ``(B, hidden, h, w)`` of the student, with gradient.
        pixels: the teacher's pseudo-labels.
        reliable: ``(B, h, w)`` bool, the candidates (Eq. 8).
        draws: of the step.
        log: gets ``loss/contrast`` and ``anchors``.
    """
    log["loss/contrast"], log["anchors"] = state.contrast.loss(
        hidden, pixels.labels, reliable, draws, state.student.unit_vectors
    )
    return state.config.contrast.weight * log["loss/contrast"]


def at_stride_of(map_: Tensor, x: Tensor) -> Tensor:
    """Every k-th row and column of `x`, ``(B, ..., H, W)``, with k such that it fits `map_`, which is coarser."""
    k = round(x.shape[-1] / map_.shape[-1])
    return x[..., ::k, ::k]


def detail_box(state: TrainingState, images: Tensor, purpose: str) -> tuple[int, int] | None:
    """Where HRDA's high-resolution crop lies in one pass: one place for the whole batch, drawn for each pass anew."""
    side = state.config.model.detail_crop
    if side is None:
        return None
    rng = numpy_generator(state.config.seed, f"detail crop, {purpose}", state.step)
    return draw_detail_box(rng, images.shape[2:], side)


def segmentation_loss(
    state: TrainingState, output: Outputs, labels: Tensor, weight: Tensor | None, box: tuple[int, int] | None
) -> Tensor:
    """Cross-entropy of one pass, that of HRDA's high-resolution crop by itself included.

    Args:
        state: its config gives the share of the high-resolution crop.
        output: of the student.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)`` of each pixel; None is 1 everywhere.
        box: top and left of the high-resolution crop that `output` was computed with.
    """
    align_corners = state.student.segmenter.align_corners
    loss = cross_entropy(output.logits, labels, weight, align_corners=align_corners)
    if output.detail is None:
        return loss
    model = state.config.model
    (top, left), side = box, model.detail_crop
    labels, weight = (None if x is None else x[:, top : top + side, left : left + side] for x in (labels, weight))
    detail = cross_entropy(output.detail, labels, weight, align_corners=align_corners)
    return (1 - model.detail_weight) * loss + model.detail_weight * detail


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, *, align_corners: bool = False
) -> Tensor:
    """Cross-entropy at the size of the labels, averaged over *all* pixels: ignored ones count as zeros.

    Args:
        logits: ``(B, C, h, w)``, brought to the size of the labels bilinearly.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)`` of each pixel; None is 1 everywhere.
        align_corners: how.
    """
    logits = upsample(logits, labels.shape[1:], align_corners)
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    return (loss if weight is None else loss * weight).mean()


def upsample(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Logits ``(B, C, h, w)`` at another size, bilinearly, in float32."""
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners)
