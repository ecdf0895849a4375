"""The losses of one iteration of each of ProCA's stages."""

from __future__ import annotations

import torch
from torch import Tensor

from pgpc.adaptation.teacher import update_teacher
from pgpc.bases.losses import at_stride_of, upsample
from pgpc.bases.memory_bank import contrast_loss, enqueue_student_source, takes_source_from, update_memory_bank
from pgpc.bases.passes import image_generators
from pgpc.bases.proca.augmentation import augment_colors
from pgpc.bases.proca.lovasz import lovasz_softmax
from pgpc.bases.proca.prototypes import ProCAState, mean_cross_entropy, prototypes_loss, target_labels
from pgpc.bases.proca.pseudo_labels import crop_labels
from pgpc.bases.proca.stages import first_step, stage_of
from pgpc.bases.state import TrainingState
from pgpc.bases.teacher_forward import TeacherOutput, teacher_forward
from pgpc.classes import IGNORE_INDEX
from pgpc.data.batch import Batch, SourceImages, TargetImages
from pgpc.data.scaled_crops import ScaledCrops
from pgpc.models.student import ForwardRequest, Outputs, Student
from pgpc.runtime.seeding import torch_generator


def stage_loss(state: TrainingState, batch: Batch, log: dict[str, Tensor]) -> Tensor:
    """Return the loss of the stage that the run is in.

    Args:
        state: The state. In stage "adapt" its prototypes and, with the contrast, teacher and memory bank are updated
            before the losses are taken.
        batch: This process's share of the images.
        log: The step's scalars, to which the parts of the loss are added.

    Returns:
        Scalar, connected to the graph.
    """
    stage = stage_of(state.step, state.config)
    if stage == "source":
        return _source_loss(state, batch.require_source(), log)
    if stage == "self_training":
        return _self_training_loss(state, batch.require_target(), batch.require_scaled(), log)
    return _adaptation_loss(state, batch.require_source(), batch.require_target(), log)


def part_of(state: TrainingState) -> ProCAState:
    """Return ProCA's own part of the state."""
    assert isinstance(state.base, ProCAState), "the state is not one of ProCA"
    return state.base


def probabilities(network: Student, images: Tensor) -> Tensor:
    """Return the class probabilities that a network gives, ``(B, C, H, W)`` at the size of the images."""
    (output,) = network(ForwardRequest(images))
    return upsample(output.logits, images.shape[2:], network.segmenter.align_corners).softmax(dim=1)


def _source_loss(state: TrainingState, source: SourceImages, log: dict[str, Tensor]) -> Tensor:
    """Return the loss of stage "source": labeled images as they are."""
    (output,) = state.replica(ForwardRequest(source.images))
    return _labeled_loss(state, output, source.labels, log)


def _adaptation_loss(
    state: TrainingState, source: SourceImages, target: TargetImages, log: dict[str, Tensor]
) -> Tensor:
    """Return the loss of stage "adapt": labeled images in other colors, unlabeled ones as they are, both prototypes."""
    contrast, proca, step = state.config.contrast, state.config.proca, state.step
    data, part = state.config.data, part_of(state)
    draws = torch_generator(target.images.device, state.config.seed, "contrast", step)
    seen = _ask_teacher(state, source, target, draws, log) if contrast.enabled else None

    # The prototypes take in both domains before a loss is taken, so both passes come first and one backward pass last.
    rngs = image_generators(state, "proca", len(source.images))
    on_source, on_target = state.replica(
        ForwardRequest(augment_colors(source.images, rngs, data.normalization, data.pixels)),
        ForwardRequest(target.images, project=contrast.enabled and step >= contrast.start),
    )
    if seen is not None and seen.target is not None and takes_source_from(state, "student"):
        enqueue_student_source(state, state.require_teacher(), on_source.features, source.labels, draws)
    labels = target_labels(on_target.require_logits(), proca.logit_threshold)
    loss = _labeled_loss(state, on_source, source.labels, log)
    all_labels = (labels, source.labels)
    in_features = _views((on_target.features[-1], on_source.features[-1]), all_labels)
    in_outputs = _views((on_target.require_logits(), on_source.require_logits()), all_labels)
    for prototypes, views in ((part.features, in_features), (part.outputs, in_outputs)):
        for view in views:
            prototypes.add_pixels(*view)
    log["loss/feature_prototypes"] = prototypes_loss(part.features, in_features, proca.temperature)
    log["loss/output_prototypes"] = prototypes_loss(part.outputs, in_outputs, proca.temperature)
    loss = loss + proca.feature_weight * log["loss/feature_prototypes"]
    loss = loss + proca.output_weight * log["loss/output_prototypes"]

    if seen is None:
        return loss
    usable = torch.where(seen.pseudo.usable, seen.pseudo.labels, IGNORE_INDEX)  # Eq. 4, without mixed images
    log["loss/target"] = mean_cross_entropy(_upsample(state, on_target, usable), usable, seen.pseudo.weight)
    loss = loss + state.config.adaptation.target_weight * log["loss/target"]
    if on_target.hidden is not None:  # Eq. 5
        assert seen.target is not None, "the memory bank fills before the contrast starts"
        loss = loss + contrast_loss(state, on_target.hidden, seen.target, seen.target.reliable, draws, log)
    return loss


def _views(maps: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return maps ``(B, D, h, w)`` of target and source with their labels ``(B, H, W)`` at the stride of the maps."""
    return [(map_, at_stride_of(map_, label)) for map_, label in zip(maps, labels, strict=True)]


def _ask_teacher(
    state: TrainingState,
    source: SourceImages,
    target: TargetImages,
    draws: torch.Generator,
    log: dict[str, Tensor],
) -> TeacherOutput:
    """Return what the EMA teacher sees in the target; the memory bank takes in its part."""
    config, step, teacher = state.config, state.step, state.require_teacher()
    update_teacher(teacher, state.student, step - first_step("adapt", config), config.adaptation.ema_decay)
    filling = step >= config.contrast.start - config.contrast.fill
    seen = teacher_forward(
        teacher,
        target,
        source if filling and takes_source_from(state, "teacher") else None,
        adaptation=config.adaptation,
        contrast=config.contrast if filling else None,
    )
    log["pseudo_label_weight"] = seen.pseudo.weight.amax()
    if filling:
        update_memory_bank(state, teacher, seen, draws)
    return seen


def _self_training_loss(
    state: TrainingState, target: TargetImages, crops: ScaledCrops, log: dict[str, Tensor]
) -> Tensor:
    """Return the loss of stage "self_training": scaled crops with labels that the frozen network gives whole images."""
    data = state.config.data
    with torch.no_grad():
        (seen,) = state.require_teacher().eval()(ForwardRequest(target.images))
        labels = crop_labels(
            seen.require_logits(),
            crops,
            target.valid,
            part_of(state).thresholds,
            align_corners=state.align_corners,
        )
        rngs = image_generators(state, "proca", len(labels))
        images = augment_colors(crops.images, rngs, data.normalization, data.pixels)
    (output,) = state.replica(ForwardRequest(images))
    log["loss/target"] = mean_cross_entropy(_upsample(state, output, labels), labels)
    return log["loss/target"]


def _labeled_loss(state: TrainingState, output: Outputs, labels: Tensor, log: dict[str, Tensor]) -> Tensor:
    """Return cross-entropy and Lovasz-softmax on the source."""
    logits = _upsample(state, output, labels)
    log["loss/source"] = mean_cross_entropy(logits, labels)
    log["loss/lovasz"] = lovasz_softmax(logits, labels)
    return log["loss/source"] + state.config.proca.lovasz_weight * log["loss/lovasz"]


def _upsample(state: TrainingState, output: Outputs, labels: Tensor) -> Tensor:
    return upsample(output.require_logits(), labels.shape[1:], state.align_corners)
