"""One iteration of Algorithm 1, together with the base it is built on: self-training, HRDA's detail, MIC's masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.masking import Masked, every_second, mask_blocks
from pgpc.adaptation.mixing import Mixed, choose_classes, class_mix, perturb
from pgpc.adaptation.pseudo_labels import PseudoLabels
from pgpc.adaptation.teacher import update_teacher
from pgpc.bases.passes import (
    TeacherPixels,
    at_stride_of,
    contrast_loss,
    detail_box,
    look,
    remember,
    remember_source_of_student,
    segmentation_loss,
)
from pgpc.bases.state import TrainingState
from pgpc.data.loader import Batch
from pgpc.models.student import Outputs, View
from pgpc.optimization.optimizer import learning_rate, projection_factor, set_learning_rate
from pgpc.runtime import distributed
from pgpc.runtime.seeding import numpy_generator, seed_everything, torch_generator


class _Pass(NamedTuple):
    """A view of the student in a step, and what is learned from it.

    Attributes:
        view: what the student is shown.
        loss: of its outputs, a scalar.
    """

    view: View
    loss: Callable[[Outputs], Tensor]


def train_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance `state` by one optimizer step (Algorithm 1; the loss is Eq. 6 plus the losses of the base).

    Args:
        state: changed in place.
        batch: this process's share of the images.

    Returns:
        Scalars by name, detached and on the device: the losses, the pseudo-label weight, and ``anchors``, ``(C,)``.
    """
    config, adaptation, step = state.config.contrast, state.config.adaptation, state.step
    contrasting = config.enabled and step >= config.start
    remembering = config.enabled and step >= config.start - config.fill
    mixing = adaptation.target_weight > 0 or (config.enabled and config.anchor_view == "mixed")
    masking = adaptation.masked_weight > 0
    log: dict[str, Tensor] = {}
    _begin(state)
    if state.teacher is None:  # source-only: nothing but Eq. 1
        return _finish(state, [_source_pass(state, batch, log)], log)

    update_teacher(state.teacher, state.student, step, adaptation.ema_decay)
    view = look(state, batch, project=remembering)  # pseudo-labels and reliable pixels: Eqs. 2, 3 and 7
    log["pseudo_label_weight"] = view.pseudo.weight.amax()
    draws = torch_generator(batch.target_images.device, state.config.seed, "contrast", step)
    if remembering:  # the material of positives and negatives: Eqs. 9, 10 and 11
        remember(state, batch, view, draws)

    # Labeled images: Eq. 1, and the feature distance.
    source = _source_pass(state, batch, log, draws if remembering and config.source_from == "student" else None)
    passes = []
    if mixing or masking:
        passes.append(source)
    if contrasting and config.anchor_view == "target":  # anchors on the clean target images: Eqs. 5 and 8
        passes.append(_clean_pass(state, batch, view.pixels, draws, log))
    if mixing:  # ClassMix: Eq. 4, and anchors on the mixed images
        pixels = view.pixels if contrasting and config.anchor_view == "mixed" else None
        passes.append(_mixed_pass(state, _mix(state, batch, view.pseudo), pixels, draws, log))
    if masking:  # images with holes (MIC)
        passes.append(_masked_pass(state, _mask(state, batch, view.pseudo), log))
    if not (mixing or masking):  # source-only with the contrast: no image of the target may reach the decoder
        passes.append(source)  # the last pass must reach every parameter, and the clean one leaves out the decoder
    return _finish(state, passes, log)


def _begin(state: TrainingState) -> None:
    seed_everything(state.config.seed, "dropout", state.step, distributed.rank())
    rate = learning_rate(state.step, state.config.optimizer, state.config.training.iterations)
    set_learning_rate(state.optimizer, rate, projection_factor(state.step, state.config))
    state.optimizer.zero_grad()


def _finish(state: TrainingState, passes: list[_Pass], log: dict[str, Tensor]) -> dict[str, Tensor]:
    _backward(state, passes)
    if state.student.projection is not None and not any(it.view.project for it in passes):
        # It took part in the averaging with gradients of zero. With these the optimizer would count steps that were
        # none, and move the head several times too fast once the contrast starts; without any it leaves it alone.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    state.optimizer.step()
    state.step += 1
    return {name: value.detach() for name, value in log.items()}


def _backward(state: TrainingState, passes: list[_Pass]) -> None:
    """Adds up the gradients of all passes, and averages them over processes once.

    One after the other each frees its graph before the next one is built; together they need the memory of all, and a
    GPU has more to do at a time.
    """
    rounds = [passes] if state.config.training.merge_passes else [[it] for it in passes]
    for at_once in rounds:
        with contextlib.nullcontext() if at_once is rounds[-1] else distributed.no_sync(state.replica):
            outputs = state.replica(*(it.view for it in at_once))
            torch.stack([it.loss(output) for it, output in zip(at_once, outputs, strict=True)]).sum().backward()
            del outputs  # or the next pass is built beside these maps


def _source_pass(
    state: TrainingState, batch: Batch, log: dict[str, Tensor], draws: torch.Generator | None = None
) -> _Pass:
    """Cross-entropy on the labeled images (Eq. 1), plus the feature distance where it is on.

    With `draws` the memory of the contrast takes in their features.
    """
    adaptation, images = state.config.adaptation, batch.source_images
    box = detail_box(state, images, "source")

    def loss(output: Outputs) -> Tensor:
        if draws is not None:
            remember_source_of_student(state, batch, output.features, draws)
        log["loss/source"] = segmentation_loss(state, output, batch.source_labels, None, box)
        if state.initial_encoder is None:
            return log["loss/source"]
        with torch.no_grad(), state.student.autocast(images.device):
            initial = state.initial_encoder(state.student.segmenter.context(images))[-1]
        log["loss/feature_distance"] = feature_distance(
            output.features[-1],
            initial,
            batch.source_labels,
            things=state.classes.things,
            share=adaptation.feature_distance_share,
            num_classes=state.config.model.num_classes,
        )
        return log["loss/source"] + adaptation.feature_distance_weight * log["loss/feature_distance"]

    return _Pass(View(images, box=box), loss)


def _clean_pass(
    state: TrainingState, batch: Batch, pixels: TeacherPixels, draws: torch.Generator, log: dict[str, Tensor]
) -> _Pass:
    """The contrast of anchors on the clean target images."""

    def loss(output: Outputs) -> Tensor:
        return contrast_loss(state, output.hidden, pixels, pixels.reliable, draws, log)

    return _Pass(View(batch.target_images, decode=False, project=True), loss)


def _mixed_pass(
    state: TrainingState, mixed: Mixed, pixels: TeacherPixels | None, draws: torch.Generator, log: dict[str, Tensor]
) -> _Pass:
    """Cross-entropy on the mixed images and, with `pixels`, the contrast of anchors where these show the target."""
    box = detail_box(state, mixed.images, "mixed")

    def loss(output: Outputs) -> Tensor:
        log["loss/target"] = segmentation_loss(state, output, mixed.labels, mixed.weight, box)
        on_labels = state.config.adaptation.target_weight * log["loss/target"]
        if pixels is None:
            return on_labels
        shown = pixels.reliable & ~at_stride_of(output.hidden, mixed.pasted)
        return on_labels + contrast_loss(state, output.hidden, pixels, shown, draws, log)

    return _Pass(View(mixed.images, project=pixels is not None, box=box), loss)


def _masked_pass(state: TrainingState, masked: Masked, log: dict[str, Tensor]) -> _Pass:
    """Cross-entropy on images with holes."""
    box = detail_box(state, masked.images, "masked")

    def loss(output: Outputs) -> Tensor:
        log["loss/masked"] = segmentation_loss(state, output, masked.labels, masked.weight, box)
        return state.config.adaptation.masked_weight * log["loss/masked"]

    return _Pass(View(masked.images, box=box), loss)


def _mix(state: TrainingState, batch: Batch, pseudo: PseudoLabels) -> Mixed:
    """The mixed images of this process, drawn per image of the global batch."""
    rngs = _generators(state, "mix", len(pseudo.labels))
    chosen = choose_classes(batch.source_labels, state.config.model.num_classes, rngs)
    mixed = class_mix(
        batch.source_images, batch.source_labels, batch.target_images, pseudo.labels, pseudo.weight, chosen
    )
    return mixed._replace(images=_augment(state, mixed.images, "augmentation", rngs))


def _mask(state: TrainingState, batch: Batch, pseudo: PseudoLabels) -> Masked:
    """The masked images of this process."""
    adaptation = state.config.adaptation
    rngs = _generators(state, "mask", len(pseudo.labels))
    images, labels, weight = batch.target_images, pseudo.labels, pseudo.weight
    if adaptation.masked_images == "target":
        images = _augment(state, images, "augmentation before masking", rngs)
    else:
        # Counted over all steps, so that a batch of one image is of both domains in turn.
        first = (state.step * distributed.world_size() + distributed.rank()) * len(labels)
        images = every_second(batch.source_images, images, first)
        labels = every_second(batch.source_labels, labels, first)
        weight = every_second(torch.ones_like(weight), weight, first)
    images = mask_blocks(images, block=adaptation.mask_block, share=adaptation.mask_share, rngs=rngs)
    return Masked(images, labels, weight)


def _augment(state: TrainingState, images: Tensor, purpose: str, rngs: list) -> Tensor:
    """Color jitter and blur, each on or off for the whole batch."""
    adaptation = state.config.adaptation
    jitter, blur = numpy_generator(state.config.seed, purpose, state.step).random(2)
    return perturb(
        images,
        jitter=adaptation.jitter_strength if jitter < adaptation.jitter_probability else 0.0,
        blur=blur < adaptation.blur_probability,
        rngs=rngs,
    )


def _generators(state: TrainingState, purpose: str, num: int) -> list:
    """One generator for each image of this process, by its number in the global batch."""
    first = distributed.rank() * num
    return [numpy_generator(state.config.seed, purpose, state.step, first + i) for i in range(num)]
