"""ProCA: one iteration of each of its stages, and what is prepared between them.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022, whose five
programs are one run here. On purpose different from the authors' code: stage "self_training" takes its pseudo-labels
from the network that "adapt" ends with, not from the one that scored best on the target's labels, which adaptation may
not look at; and it computes them anew in each iteration, on the whole unchanged image, instead of storing them.

With the contrast of PGPC (an interpretation: its paper does not say how the two meet), stage "adapt" also has an EMA
teacher, a cross-entropy on its pseudo-labels, and, from `contrast.start` on, the contrastive loss; anchors are always
on the clean target images, since ProCA mixes none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from pgpc.adaptation.teacher import update_teacher
from pgpc.bases.passes import (
    TeacherView,
    at_stride_of,
    contrast_loss,
    look,
    remember,
    remember_source_of_student,
    upsample,
)
from pgpc.bases.proca.augmentation import augment_colors, scale_crop_flip
from pgpc.bases.proca.lovasz import lovasz_softmax
from pgpc.bases.proca.prototypes import (
    BINS,
    class_sums,
    class_thresholds,
    count_confidences,
    mean_cross_entropy,
    target_labels,
)
from pgpc.bases.proca.stages import first_step, stage_of
from pgpc.bases.state import TrainingState
from pgpc.classes import IGNORE_INDEX
from pgpc.config import Config
from pgpc.data.loader import Batch
from pgpc.data.shards.reader import Shards
from pgpc.data.whole_images import whole_images
from pgpc.models.student import Outputs, Student, View
from pgpc.optimization import optimizer as optimization
from pgpc.runtime import distributed
from pgpc.runtime.seeding import numpy_generator, seed_everything, torch_generator

log = logging.getLogger(__name__)

_LOG_INTERVAL = 1000  # images of this process between two lines of a pass over a data set


def learning_rate(step: int, config: Config) -> float:
    """The encoder's learning rate; each stage begins its schedule afresh (see :func:`optimization.learning_rate`).

    Args:
        step: 0-based iteration of the run.
        config: rates, schedule, and lengths of the stages; the horizon of stage "source" lies behind its end.
    """
    stage, proca, schedule = stage_of(step, config), config.proca, config.optimizer
    since = step - first_step(stage, config)
    if stage == "source":
        return optimization.learning_rate(since, schedule, proca.source_horizon)
    if stage == "self_training":
        return optimization.learning_rate(since, schedule, proca.self_training_iterations)
    length = first_step("self_training", config) - first_step("adapt", config)
    return optimization.learning_rate(since, dataclasses.replace(schedule, lr=proca.adapt_lr), length)


def prepare(state: TrainingState, source: Shards, target: Shards) -> None:
    """Do what comes between two stages, if the next step is the first of its stage; nothing otherwise.

    A checkpoint is written after a step, hence before this: a run resumed at the end of a stage prepares the next.

    Args:
        state: changed in place.
        source: labeled train split, of which stage "adapt" needs the prototypes.
        target: train split, of which stage "self_training" needs thresholds of confidence; its labels are not read.
    """
    if state.step == first_step("adapt", state.config):
        _prepare_adapt(state, source)
    elif state.step == first_step("self_training", state.config):
        _prepare_self_training(state, target)


def proca_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance `state` by one optimizer step of the stage that it is in. The stage must have been prepared.

    Args:
        state: changed in place.
        batch: this process's share of the images; a domain that the stage does not use is None.

    Returns:
        Scalars by name, detached and on the device: the losses of the stage and, with the contrast, the pseudo-label
        weight and ``anchors``, ``(C,)``.
    """
    config = state.config
    seed_everything(config.seed, "dropout", state.step, distributed.rank())
    optimization.set_learning_rate(
        state.optimizer, learning_rate(state.step, config), optimization.projection_factor(state.step, config)
    )
    state.optimizer.zero_grad()
    scalars: dict[str, Tensor] = {}
    run = {"source": _source_loss, "adapt": _adaptation_loss, "self_training": _self_training_loss}
    run[stage_of(state.step, config)](state, batch, scalars).backward()
    if state.student.projection is not None and "loss/contrast" not in scalars:
        # It took part in the averaging with gradients of zero, by which the optimizer would decay it.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    state.optimizer.step()
    state.step += 1
    return {name: value.detach() for name, value in scalars.items()}


def _source_loss(state: TrainingState, batch: Batch, scalars: dict[str, Tensor]) -> Tensor:
    """Stage "source": labeled images as they are."""
    (output,) = state.replica(View(batch.source_images))
    return _labeled_loss(state, output, batch.source_labels, scalars)


def _adaptation_loss(state: TrainingState, batch: Batch, scalars: dict[str, Tensor]) -> Tensor:
    """Stage "adapt": labeled images in other colors, unlabeled ones as they are, and prototypes of both."""
    contrast, proca, step = state.config.contrast, state.config.proca, state.step
    view, draws = _ask_teacher(state, batch, scalars) if contrast.enabled else (None, None)

    # The prototypes take in both domains before a loss is taken, so both passes come first and one backward pass last.
    source, target = state.replica(
        View(augment_colors(batch.source_images, _generators(state, batch.source_images))),
        View(batch.target_images, project=contrast.enabled and step >= contrast.start),
    )
    if view is not None and view.pixels is not None and contrast.source_from == "student":
        remember_source_of_student(state, batch, source.features, draws)
    labels = target_labels(target.logits, proca.logit_threshold)
    loss = _labeled_loss(state, source, batch.source_labels, scalars)
    for name, weight, prototypes, maps in (
        ("feature", proca.feature_weight, state.proca.features, (target.features[-1], source.features[-1])),
        ("output", proca.output_weight, state.proca.outputs, (target.logits, source.logits)),
    ):
        views = [(x, at_stride_of(x, y)) for x, y in zip(maps, (labels, batch.source_labels))]
        scalars[f"loss/{name}_prototypes"] = prototypes.contrast(views, proca.temperature)
        loss = loss + weight * scalars[f"loss/{name}_prototypes"]

    if view is None:
        return loss
    usable = torch.where(view.pseudo.usable, view.pseudo.labels, IGNORE_INDEX)  # Eq. 4, without mixed images
    scalars["loss/target"] = mean_cross_entropy(_upsample(state, target, usable), usable, view.pseudo.weight)
    loss = loss + state.config.adaptation.target_weight * scalars["loss/target"]
    if target.hidden is not None:  # Eq. 5
        loss = loss + contrast_loss(state, target.hidden, view.pixels, view.pixels.reliable, draws, scalars)
    return loss


def _ask_teacher(state: TrainingState, batch: Batch, scalars: dict[str, Tensor]) -> tuple[TeacherView, torch.Generator]:
    """What the EMA teacher sees in the target; the memory of the contrast takes in its material."""
    config, step = state.config, state.step
    since = step - first_step("adapt", config)
    update_teacher(state.teacher, state.student, since, config.adaptation.ema_decay)
    remembering = step >= config.contrast.start - config.contrast.fill
    view = look(state, batch, project=remembering)
    scalars["pseudo_label_weight"] = view.pseudo.weight.amax()
    draws = torch_generator(batch.target_images.device, config.seed, "contrast", step)
    if remembering:
        remember(state, batch, view, draws)
    return view, draws


def _self_training_loss(state: TrainingState, batch: Batch, scalars: dict[str, Tensor]) -> Tensor:
    """Stage "self_training": target images with the labels of the frozen network, then changed together."""
    with torch.no_grad():
        probability, labels = _probabilities(state, state.teacher.eval(), batch.target_images).max(dim=1)
        sure = batch.target_valid & (probability >= state.proca.thresholds[labels])
        labels = torch.where(sure, labels, IGNORE_INDEX)
        rngs = _generators(state, labels)
        changed = [scale_crop_flip(*image, rng) for *image, rng in zip(batch.target_images, labels, rngs)]
        images, labels = map(torch.stack, zip(*changed))
        images = augment_colors(images, rngs)
    (output,) = state.replica(View(images))
    scalars["loss/target"] = mean_cross_entropy(_upsample(state, output, labels), labels)
    return scalars["loss/target"]


def _labeled_loss(state: TrainingState, output: Outputs, labels: Tensor, scalars: dict[str, Tensor]) -> Tensor:
    """Cross-entropy and Lovasz-softmax on the source."""
    logits = _upsample(state, output, labels)
    scalars["loss/source"] = mean_cross_entropy(logits, labels)
    scalars["loss/lovasz"] = lovasz_softmax(logits, labels)
    return scalars["loss/source"] + state.config.proca.lovasz_weight * scalars["loss/lovasz"]


@torch.no_grad()
def _prepare_adapt(state: TrainingState, source: Shards) -> None:
    """Measure the prototypes over the whole source, with the network that stage "source" ends with."""
    memories = state.proca.features, state.proca.outputs
    totals = [[torch.zeros_like(memory.sums), torch.zeros_like(memory.counts)] for memory in memories]
    network = _in_evaluation(state)
    for image, labels in _stream(state, source, state.config.data.source_size, labeled=True):
        (output,) = network(View(image))
        for total, map_ in zip(totals, (output.features[-1], output.logits)):
            for sum_, new in zip(total, class_sums(map_, at_stride_of(map_, labels), len(total[1]))):
                sum_ += new
    for memory, total in zip(memories, totals):
        memory.add(*total)
    network.train()
    state.optimizer.state.clear()


@torch.no_grad()
def _prepare_self_training(state: TrainingState, target: Shards) -> None:
    """Freeze the network that stage "adapt" ends with, measure its confidences, and start another one afresh."""
    config, num_classes = state.config, state.config.model.num_classes
    network = _in_evaluation(state)
    counts = torch.zeros(num_classes, BINS, dtype=torch.long, device=state.proca.thresholds.device)
    for image, _ in _stream(state, target, config.data.target_size, labeled=False):
        counts += count_confidences(*_probabilities(state, network, image).max(dim=1), num_classes)
    counts = distributed.all_reduce_sum(counts)
    state.proca.thresholds.copy_(
        class_thresholds(counts, limit=config.proca.label_threshold, share=config.proca.label_share)
    )
    state.teacher.load_state_dict(network.state_dict())
    network.train()
    seed_everything(config.seed, "initial weights")  # as for the state itself
    # In place, because the wrapper that averages gradients and the optimizer hold these very parameters.
    network.load_state_dict(Student(config).state_dict())
    state.optimizer.state.clear()


def _in_evaluation(state: TrainingState) -> Student:
    """The student in evaluation mode, equal on all processes."""
    distributed.broadcast_buffers(state.student)
    return state.student.eval()


def _stream(
    state: TrainingState, shards: Shards, size: tuple[int, int], *, labeled: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """This process's share of all images of a split, with progress."""
    device = state.proca.thresholds.device
    rank, world_size = distributed.rank(), distributed.world_size()
    samples = whole_images(shards, state.config.data, size, labeled=labeled, rank=rank, world_size=world_size)
    for done, (image, label) in enumerate(samples):
        if rank == 0 and done % _LOG_INTERVAL == 0:
            log.info("Between two stages: %d of %d images", done * world_size, len(shards))
        yield image.to(device), None if label is None else label.to(device)


def _probabilities(state: TrainingState, network: Student, images: Tensor) -> Tensor:
    """``(B, C, H, W)`` at the size of the images."""
    (output,) = network(View(images))
    logits = upsample(output.logits, images.shape[2:], state.student.segmenter.align_corners)
    return logits.softmax(dim=1)


def _upsample(state: TrainingState, output: Outputs, labels: Tensor) -> Tensor:
    return upsample(output.logits, labels.shape[1:], state.student.segmenter.align_corners)


def _generators(state: TrainingState, images: Tensor) -> list:
    """One generator for each image of this process, by its number in the global batch."""
    first = distributed.rank() * len(images)
    return [numpy_generator(state.config.seed, "proca", state.step, first + i) for i in range(len(images))]
