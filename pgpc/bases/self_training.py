"""Self-training on the target: one iteration of Algorithm 1, together with the bases that it is built on.

Which of source-only, DACS, DAFormer, HRDA and MIC is trained follows from the weights of the losses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.masking import Masked
from pgpc.adaptation.mixing import Mixed
from pgpc.adaptation.teacher import update_teacher
from pgpc.bases.base import Base
from pgpc.bases.losses import Box, at_cells_of, segmentation_loss
from pgpc.bases.memory_bank import contrast_loss, enqueue_student_source, takes_source_from, update_memory_bank
from pgpc.bases.passes import Part, Pass, backward, begin_step, end_step, mean_over_parts, parts, take
from pgpc.bases.state import TrainingState
from pgpc.bases.student_images import mask_images, mix_images
from pgpc.bases.teacher_forward import TargetPixels, teacher_forward
from pgpc.data.loader import Batch, SourceImages, TargetImages
from pgpc.models.hrda import draw_detail_box
from pgpc.models.student import ForwardRequest, Outputs
from pgpc.runtime.seeding import numpy_generator, torch_generator


class SelfTraining(Base):
    """Source-only, DACS, DAFormer, HRDA and MIC, each with or without the contrast."""

    takes_target_labels = True
    accumulates = True

    def step(self, state: TrainingState, batch: Batch) -> dict[str, Tensor]:
        """Advance the state by one optimizer step, see :func:`train_step`."""
        return train_step(state, batch, rate=self.learning_rate(state.step), more_passes=self.more_passes)

    def more_passes(self, state: TrainingState, batch: Batch, log: dict[str, Tensor]) -> list[Pass]:
        """Return further passes of the student, whose losses are added; here there are none.

        A base that adds only a loss is a subclass that overrides this.

        Args:
            state: The state before the step.
            batch: This process's share of the images; with ``training.accumulate`` a part of it, one after the other.
            log: The step's scalars, to which a loss adds its own as ``loss/..``; they become means over the parts.
        """
        return []


BASE = SelfTraining


MorePasses = Callable[[TrainingState, Batch, "dict[str, Tensor]"], "list[Pass]"]


def train_step(
    state: TrainingState, batch: Batch, *, rate: float, more_passes: MorePasses | None = None
) -> dict[str, Tensor]:
    """Advance `state` by one optimizer step (Algorithm 1; the loss is Eq. 6 plus the losses of the base).

    Args:
        state: The state; it is changed in place.
        batch: This process's share of the images.
        rate: Learning rate of the encoder.
        more_passes: What gives the passes of a loss that is added to these; see :meth:`SelfTraining.more_passes`.

    Returns:
        Scalars by name, detached and on the device: the losses, the pseudo-label weight, and ``anchors``, ``(C,)``.
    """
    config, adaptation, step = state.config.contrast, state.config.adaptation, state.step
    contrasting = config.enabled and step >= config.start
    filling = config.enabled and step >= config.start - config.fill
    mixing = adaptation.target_weight > 0 or (config.enabled and config.anchor_view == "mixed")
    masking = adaptation.masked_weight > 0
    source, log = batch.require_source(), dict[str, Tensor]()
    shown = parts(state, len(source.images))  # all images at a time, unless training.accumulate says otherwise
    logs = [dict[str, Tensor]() for _ in shown]

    begin_step(state, rate)
    more = [more_passes(state, take(batch, part), logs[part.number]) if more_passes else [] for part in shown]
    if state.teacher is not None:  # else source-only: nothing but Eq. 1
        teacher, target = state.teacher, batch.require_target()
        draws = torch_generator(target.images.device, state.config.seed, "contrast", step)

        update_teacher(teacher, state.student, step, adaptation.ema_decay)
        seen = teacher_forward(  # pseudo-labels and reliable pixels: Eqs. 2, 3 and 7
            teacher,
            target,
            source if filling and takes_source_from(state, "teacher") else None,
            adaptation=adaptation,
            contrast=config if filling else None,
        )
        log["pseudo_label_weight"] = seen.pseudo.weight.amax()
        if filling:  # the material of positives and negatives: Eqs. 9, 10 and 11
            update_memory_bank(state, teacher, seen, draws)
        mixed = mix_images(state, source, target, seen.pseudo) if mixing else None  # ClassMix: Eq. 4
        masked = mask_images(state, source, target, seen.pseudo) if masking else None  # images with holes (MIC)

    for part, passes in zip(shown, more, strict=True):
        part_log = logs[part.number]
        source_pass = _source_pass(state, source, part, part_log)  # Eq. 1, and the feature distance
        if batch.labeled_images is not None:  # the few labels of the target: Eq. 1 once more
            passes.append(_labeled_pass(state, batch.require_labeled(), part, part_log))
        if state.teacher is not None:
            if filling and takes_source_from(state, "student"):
                source_pass = _remembering(source_pass, state, source.labels, draws)
            if mixing or masking:
                passes.append(source_pass)
            if contrasting and config.anchor_view == "target":  # anchors on the clean target images: Eqs. 5 and 8
                passes.append(_clean_pass(state, target, seen.target, part, draws, part_log))
            if mixed is not None:  # and anchors on the mixed images
                pixels = seen.target if contrasting and config.anchor_view == "mixed" else None
                passes.append(_mixed_pass(state, mixed, pixels, part, draws, part_log))
            if masked is not None:
                passes.append(_masked_pass(state, masked, part, part_log))
        if state.teacher is None or not (mixing or masking):
            # Source-only: no image of the target may reach the decoder. With the contrast the source comes last, since
            # the last pass must reach every parameter, and the one of the anchors leaves out the decoder.
            passes.append(source_pass)
        backward(state, passes, part)
    end_step(state, projected=any(pass_.request.project for pass_ in passes))
    return {**{name: value.detach() for name, value in log.items()}, **mean_over_parts(logs)}


def _source_pass(state: TrainingState, source: SourceImages, part: Part, log: dict[str, Tensor]) -> Pass:
    """Return the pass of the labeled images: cross-entropy (Eq. 1), plus the feature distance where it is on."""
    adaptation, (images, labels) = state.config.adaptation, take(source, part)
    box = _detail_box(state, images, "source")

    def loss(output: Outputs) -> Tensor:
        log["loss/source"] = _segmentation_loss(state, output, labels, None, box)
        if state.initial_encoder is None:
            return log["loss/source"]
        with torch.no_grad(), state.student.autocast(images.device):
            initial = state.initial_encoder(state.student.segmenter.context(images))[-1]
        log["loss/feature_distance"] = feature_distance(
            output.features[-1],
            initial,
            source.labels,
            things=state.classes.things,
            share=adaptation.feature_distance_share,
            num_classes=state.config.model.num_classes,
            first_image=part.images.start or 0,
        )
        return log["loss/source"] + adaptation.feature_distance_weight * log["loss/feature_distance"]

    return Pass(ForwardRequest(images, box=box), loss)


def _labeled_pass(state: TrainingState, labeled: SourceImages, part: Part, log: dict[str, Tensor]) -> Pass:
    """Return the pass of the target images that have labels: cross-entropy, which counts as much as the source's."""
    images, labels = take(labeled, part)
    box = _detail_box(state, images, "labeled target")

    def loss(output: Outputs) -> Tensor:
        log["loss/labeled_target"] = _segmentation_loss(state, output, labels, None, box)
        return log["loss/labeled_target"]

    return Pass(ForwardRequest(images, box=box), loss)


def _remembering(source_pass: Pass, state: TrainingState, labels: Tensor, draws: torch.Generator) -> Pass:
    """Return the pass of the labeled images with its features going into the memory bank."""
    teacher = state.require_teacher()

    def observe(output: Outputs) -> None:
        enqueue_student_source(state, teacher, output.features, labels, draws)

    return source_pass._replace(observe=observe)


def _clean_pass(
    state: TrainingState,
    target: TargetImages,
    pixels: TargetPixels | None,
    part: Part,
    draws: torch.Generator,
    log: dict[str, Tensor],
) -> Pass:
    """Return the pass of the clean target images: the contrast of their anchors."""
    assert pixels is not None, "the memory bank fills before the contrast starts"

    def loss(output: Outputs) -> Tensor:
        return contrast_loss(state, output.require_hidden(), pixels, pixels.reliable, draws, log, part)

    return Pass(ForwardRequest(take(target, part).images, decode=False, project=True), loss)


def _mixed_pass(
    state: TrainingState,
    mixed: Mixed,
    pixels: TargetPixels | None,
    part: Part,
    draws: torch.Generator,
    log: dict[str, Tensor],
) -> Pass:
    """Return the pass of the mixed images: cross-entropy and, with `pixels`, anchors where they show the target."""
    images, labels, weight, _ = take(mixed, part)
    box = _detail_box(state, images, "mixed")

    def loss(output: Outputs) -> Tensor:
        log["loss/target"] = _segmentation_loss(state, output, labels, weight, box)
        on_labels = state.config.adaptation.target_weight * log["loss/target"]
        if pixels is None:
            return on_labels
        hidden = output.require_hidden()
        anchors = pixels.reliable & ~at_cells_of(hidden, mixed.pasted, mixed.pasted.shape[-1])
        return on_labels + contrast_loss(state, hidden, pixels, anchors, draws, log, part)

    return Pass(ForwardRequest(images, project=pixels is not None, box=box), loss)


def _masked_pass(state: TrainingState, masked: Masked, part: Part, log: dict[str, Tensor]) -> Pass:
    """Return the pass of the images with holes: cross-entropy."""
    images, labels, weight = take(masked, part)
    box = _detail_box(state, images, "masked")

    def loss(output: Outputs) -> Tensor:
        log["loss/masked"] = _segmentation_loss(state, output, labels, weight, box)
        return state.config.adaptation.masked_weight * log["loss/masked"]

    return Pass(ForwardRequest(images, box=box), loss)


def _detail_box(state: TrainingState, images: Tensor, purpose: str) -> Box | None:
    """Return where HRDA's high-resolution crop lies in one pass: one place for the whole batch, drawn for each pass."""
    side = state.config.model.detail_crop
    if side is None:
        return None
    rng = numpy_generator(state.config.seed, f"detail crop, {purpose}", state.step)
    height, width = images.shape[2:]
    return draw_detail_box(rng, (height, width), side)


def _segmentation_loss(
    state: TrainingState, output: Outputs, labels: Tensor, weight: Tensor | None, box: Box | None
) -> Tensor:
    return segmentation_loss(output, labels, weight, box, model=state.config.model, align_corners=state.align_corners)
