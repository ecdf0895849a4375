"""One iteration of Algorithm 1, together with the base it is built on (DAFormer's self-training)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc import distributed
from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.mixing import choose_classes, class_mix, perturb
from pgpc.adaptation.pseudo_labels import pseudo_labels
from pgpc.adaptation.teacher import teacher_mode, update_teacher
from pgpc.classes import IGNORE_INDEX, THING_CLASSES
from pgpc.contrast import reliable
from pgpc.data.loader import Batch
from pgpc.training.optimization import learning_rate, set_learning_rate
from pgpc.training.seeding import numpy_generator, seed_everything, torch_generator
from pgpc.training.state import TrainingState

STRIDE = 4
"""Pixels per cell of the logits and projections; labels are brought to it by taking every 4th pixel."""


def train_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance `state` by one optimiser step (Algorithm 1; the loss is Eq. 6 plus the feature distance).

    Each loss is back-propagated as soon as it is there, which frees its graph; gradients add up, and are averaged over
    processes in the last backward pass only.

    Args:
        state: changed in place.
        batch: this process's share of the images.

    Returns:
        Scalars by name, detached and on the device: the losses, the pseudo-label weight, and ``anchors``, ``(C,)``.
    """
    config, student, teacher, step = state.config, state.replica, state.teacher, state.step
    adaptation, contrast = config.adaptation, config.contrast
    seed_everything(config.seed, "dropout", step, distributed.rank())
    set_learning_rate(state.optimizer, learning_rate(step, config.optimizer, config.training.iterations))
    state.optimizer.zero_grad()

    if teacher is None:  # source-only: nothing but Eq. 1
        source_loss = cross_entropy(student(batch.source_images).logits, batch.source_labels)
        source_loss.backward()
        return _finish(state, {"loss/source": source_loss})

    update_teacher(teacher, state.student, step, adaptation.ema_decay)
    teacher_mode(teacher)
    remembering = state.contrast is not None and step >= contrast.start - contrast.fill
    contrasting = state.contrast is not None and step >= contrast.start
    log = {}

    with distributed.no_sync(student):  # labelled source images: Eq. 1, and thing features stay near the initial ones
        source = student(batch.source_images)
        loss = log["loss/source"] = cross_entropy(source.logits, batch.source_labels)
        if state.initial_encoder is not None:
            log["loss/feature_distance"] = _feature_distance(state, batch, source.features[-1])
            loss = loss + adaptation.feature_distance_weight * log["loss/feature_distance"]
        loss.backward()
        del source

    with torch.no_grad():  # the teacher's view of the target images: Eqs. 2 and 3
        guess = teacher(batch.target_images, project=remembering)
        target_logits = F.interpolate(
            guess.logits.float(), batch.target_images.shape[2:], mode="bilinear", align_corners=False
        )
        pseudo = pseudo_labels(
            target_logits, batch.target_valid, confidence=adaptation.confidence,
            ignore_top=adaptation.ignore_top, ignore_bottom=adaptation.ignore_bottom,
        )  # fmt: skip

    if remembering:  # fill the memory: material of Eqs. 9, 10 and 11
        draws = torch_generator(batch.target_images.device, config.seed, "contrast", step)
        sure = reliable(target_logits, contrast.eta, by=contrast.reliable_by, per=contrast.reliable_per)
        labels, usable, sure = (x[:, ::STRIDE, ::STRIDE] for x in (pseudo.labels, pseudo.usable, sure))
        with torch.no_grad():
            source_projections = teacher(batch.source_images, decode=False, project=True).projections
        state.contrast.remember_source(source_projections, batch.source_labels[:, ::STRIDE, ::STRIDE], draws)
        state.contrast.remember_target(guess.projections, guess.logits, labels, usable, sure, draws)

    if contrasting and contrast.anchor_view == "target":  # anchors on the clean target image: Eqs. 5 and 8
        with distributed.no_sync(student):
            projections = student(batch.target_images, decode=False, project=True).projections
            log["loss/contrast"], log["anchors"] = state.contrast.loss(projections, labels, usable & sure, draws)
            (contrast.weight * log["loss/contrast"]).backward()
            del projections

    mixed = _mix(state, batch, pseudo.labels, pseudo.weight)  # ClassMix and augmentation: Eq. 4
    output = student(mixed.images, project=contrasting and contrast.anchor_view == "mixed")
    log["loss/target"] = cross_entropy(output.logits, mixed.labels, mixed.weight)
    loss = adaptation.target_weight * log["loss/target"]
    if output.projections is not None:  # anchors on the mixed image, where it shows the target
        anchors = usable & sure & ~mixed.pasted[:, ::STRIDE, ::STRIDE]
        log["loss/contrast"], log["anchors"] = state.contrast.loss(output.projections, labels, anchors, draws)
        loss = loss + contrast.weight * log["loss/contrast"]
    loss.backward()
    log["pseudo_label_weight"] = pseudo.weight.amax()
    return _finish(state, log)


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


def _feature_distance(state: TrainingState, batch: Batch, features: Tensor) -> Tensor:
    with torch.no_grad():
        initial = state.initial_encoder(batch.source_images)[-1]
    return feature_distance(
        features, initial, batch.source_labels, things=THING_CLASSES,
        share=state.config.adaptation.feature_distance_share, num_classes=state.config.model.num_classes,
    )  # fmt: skip


def _mix(state: TrainingState, batch: Batch, labels: Tensor, weight: Tensor):  # noqa: ANN202
    """The mixed images of this process, drawn per image of the global batch."""
    config, adaptation, num = state.config, state.config.adaptation, len(labels)
    first = distributed.rank() * num
    rngs = [numpy_generator(config.seed, "mix", state.step, first + i) for i in range(num)]
    jitter, blur = numpy_generator(config.seed, "augmentation", state.step).random(2)  # one decision for the batch
    chosen = choose_classes(batch.source_labels, config.model.num_classes, rngs)
    mixed = class_mix(batch.source_images, batch.source_labels, batch.target_images, labels, weight, chosen)
    images = perturb(
        mixed.images,
        jitter=adaptation.jitter_strength if jitter < adaptation.jitter_probability else 0.0,
        blur=blur < adaptation.blur_probability,
        rngs=rngs,
    )
    return mixed._replace(images=images)


def _finish(state: TrainingState, log: dict[str, Tensor]) -> dict[str, Tensor]:
    state.optimizer.step()
    state.step += 1
    return {name: value.detach() for name, value in log.items()}
