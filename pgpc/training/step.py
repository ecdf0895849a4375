"""One iteration of Algorithm 1, together with the base it is built on (DAFormer's self-training)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc import distributed
from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.mixing import Mixed, choose_classes, class_mix, perturb
from pgpc.adaptation.pseudo_labels import PseudoLabels, pseudo_labels
from pgpc.adaptation.teacher import teacher_mode, update_teacher
from pgpc.classes import IGNORE_INDEX, THING_CLASSES
from pgpc.contrast import reliable
from pgpc.data.loader import Batch
from pgpc.training.optimization import learning_rate, set_learning_rate
from pgpc.training.seeding import numpy_generator, seed_everything, torch_generator
from pgpc.training.state import TrainingState

STRIDE = 4
"""Pixels per cell of the logits and projections; labels are brought to it by taking every 4th pixel."""


class TeacherView(NamedTuple):
    """What the teacher sees in the target images of a step.

    Attributes:
        pseudo: labels and weights, at the size of the images.
        logits: ``(B, C, h, w)`` at stride 4.
        projections: ``(B, D, h, w)`` at stride 4; None while nothing is remembered.
        labels: ``(B, h, w)``, the pseudo-labels at stride 4.
        usable: ``(B, h, w)`` bool, neither padding nor in the margins.
        reliable: ``(B, h, w)`` bool, usable and of low entropy: the candidates of Eq. 8.
    """

    pseudo: PseudoLabels
    logits: Tensor
    projections: Tensor | None
    labels: Tensor
    usable: Tensor
    reliable: Tensor


def train_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance `state` by one optimiser step (Algorithm 1; the loss is Eq. 6 plus the feature distance).

    Each loss is back-propagated as soon as it is there, which frees its graph. Gradients add up; they are averaged over
    processes in the last backward pass only.

    Args:
        state: changed in place.
        batch: this process's share of the images.

    Returns:
        Scalars by name, detached and on the device: the losses, the pseudo-label weight, and ``anchors``, ``(C,)``.
    """
    config, step, student, log = state.config.contrast, state.step, state.replica, {}
    contrasting = config.enabled and step >= config.start
    remembering = config.enabled and step >= config.start - config.fill
    _begin(state)

    if state.teacher is None:  # source-only: nothing but Eq. 1
        _source_loss(state, batch, log).backward()
        return _finish(state, log)

    update_teacher(state.teacher, state.student, step, state.config.adaptation.ema_decay)
    with distributed.no_sync(student):  # labelled source images: Eq. 1, and the feature distance
        _source_loss(state, batch, log).backward()

    view = _look(state, batch, project=remembering)  # pseudo-labels and reliable pixels: Eqs. 2, 3 and 7
    log["pseudo_label_weight"] = view.pseudo.weight.amax()
    draws = torch_generator(batch.target_images.device, state.config.seed, "contrast", step)
    if remembering:  # the material of positives and negatives: Eqs. 9, 10 and 11
        _remember(state, batch, view, draws)

    if contrasting and config.anchor_view == "target":  # anchors on the clean target images: Eqs. 5 and 8
        with distributed.no_sync(student):
            anchors = student(batch.target_images, decode=False, project=True).projections
            log["loss/contrast"], log["anchors"] = state.contrast.loss(anchors, view.labels, view.reliable, draws)
            (config.weight * log["loss/contrast"]).backward()

    mixed = _mix(state, batch, view.pseudo)  # ClassMix and augmentation: Eq. 4
    output = student(mixed.images, project=contrasting and config.anchor_view == "mixed")
    log["loss/target"] = cross_entropy(output.logits, mixed.labels, mixed.weight)
    loss = state.config.adaptation.target_weight * log["loss/target"]
    if output.projections is not None:  # anchors on the mixed images, where these show the target
        shown = view.reliable & ~mixed.pasted[:, ::STRIDE, ::STRIDE]
        log["loss/contrast"], log["anchors"] = state.contrast.loss(output.projections, view.labels, shown, draws)
        loss = loss + config.weight * log["loss/contrast"]
    loss.backward()
    if not contrasting and state.student.projection is not None:
        # It took part in the averaging with gradients of zero. With these the optimiser would count steps that were
        # none, and move the head several times too fast once the contrast starts; without any it leaves it alone.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    return _finish(state, log)


def _begin(state: TrainingState) -> None:
    seed_everything(state.config.seed, "dropout", state.step, distributed.rank())
    rate = learning_rate(state.step, state.config.optimizer, state.config.training.iterations)
    set_learning_rate(state.optimizer, rate)
    state.optimizer.zero_grad()


def _finish(state: TrainingState, log: dict[str, Tensor]) -> dict[str, Tensor]:
    state.optimizer.step()
    state.step += 1
    return {name: value.detach() for name, value in log.items()}


def _source_loss(state: TrainingState, batch: Batch, log: dict[str, Tensor]) -> Tensor:
    """Cross-entropy on the labelled images (Eq. 1), plus the feature distance where it is on."""
    output = state.replica(batch.source_images)
    log["loss/source"] = cross_entropy(output.logits, batch.source_labels)
    if state.initial_encoder is None:
        return log["loss/source"]
    adaptation = state.config.adaptation
    with torch.no_grad(), state.student.autocast(batch.source_images.device):
        initial = state.initial_encoder(batch.source_images)[-1]
    log["loss/feature_distance"] = feature_distance(
        output.features[-1], initial, batch.source_labels, things=THING_CLASSES,
        share=adaptation.feature_distance_share, num_classes=state.config.model.num_classes,
    )  # fmt: skip
    return log["loss/source"] + adaptation.feature_distance_weight * log["loss/feature_distance"]


@torch.no_grad()
def _look(state: TrainingState, batch: Batch, *, project: bool) -> TeacherView:
    """One pass of the teacher over the clean target images."""
    adaptation, contrast = state.config.adaptation, state.config.contrast
    teacher_mode(state.teacher)
    output = state.teacher(batch.target_images, project=project)
    logits = F.interpolate(output.logits.float(), batch.target_images.shape[2:], mode="bilinear", align_corners=False)
    pseudo = pseudo_labels(
        logits, batch.target_valid, confidence=adaptation.confidence,
        ignore_top=adaptation.ignore_top, ignore_bottom=adaptation.ignore_bottom,
    )  # fmt: skip
    sure = pseudo.usable & reliable(logits, contrast.eta, by=contrast.reliable_by, per=contrast.reliable_per)
    at_stride = (x[:, ::STRIDE, ::STRIDE] for x in (pseudo.labels, pseudo.usable, sure))
    return TeacherView(pseudo, output.logits, output.projections, *at_stride)


@torch.no_grad()
def _remember(state: TrainingState, batch: Batch, view: TeacherView, draws: torch.Generator) -> None:
    """Add the teacher's features of both domains to the memory."""
    source = state.teacher(batch.source_images, decode=False, project=True).projections
    state.contrast.remember_source(source, batch.source_labels[:, ::STRIDE, ::STRIDE], draws)
    state.contrast.remember_target(view.projections, view.logits, view.labels, view.usable, view.reliable, draws)


def _mix(state: TrainingState, batch: Batch, pseudo: PseudoLabels) -> Mixed:
    """The mixed images of this process, drawn per image of the global batch."""
    config, adaptation, num = state.config, state.config.adaptation, len(pseudo.labels)
    first = distributed.rank() * num
    rngs = [numpy_generator(config.seed, "mix", state.step, first + i) for i in range(num)]
    jitter, blur = numpy_generator(config.seed, "augmentation", state.step).random(2)  # one decision for the batch
    chosen = choose_classes(batch.source_labels, config.model.num_classes, rngs)
    mixed = class_mix(
        batch.source_images, batch.source_labels, batch.target_images, pseudo.labels, pseudo.weight, chosen
    )
    images = perturb(
        mixed.images,
        jitter=adaptation.jitter_strength if jitter < adaptation.jitter_probability else 0.0,
        blur=blur < adaptation.blur_probability,
        rngs=rngs,
    )
    return mixed._replace(images=images)


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy at the size of the labels, averaged over *all* pixels: ignored ones count as zeros.

    Args:
        logits: ``(B, C, h, w)``, brought to the size of the labels bilinearly.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)`` of each pixel; None is 1 everywhere.
    """
    logits = F.interpolate(logits.float(), labels.shape[1:], mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    return (loss if weight is None else loss * weight).mean()
