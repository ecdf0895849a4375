"""Self-training on the target: one iteration of Algorithm 1, together with the bases that it is built on.

Which of source-only, DACS, DAFormer, HRDA and MIC is trained follows from the weights of the losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.masking import Masked
from pgpc.adaptation.mixing import Mixed
from pgpc.adaptation.teacher import update_teacher
from pgpc.bases.base import Base
from pgpc.bases.losses import Box, at_cells_of, segmentation_loss
from pgpc.bases.memory_bank import contrast_loss, enqueue_student_source, takes_source_from, update_memory_bank
from pgpc.bases.passes import WHOLE, Part, Pass, backward, begin_step, end_step, mean_over_parts, parts, take
from pgpc.bases.state import TrainingState
from pgpc.bases.student_images import mask_images, mix_images, source_images
from pgpc.bases.teacher_forward import TargetPixels, TeacherOutput, teacher_forward
from pgpc.data.batch import Batch, SourceImages, TargetImages
from pgpc.models.hrda import draw_detail_box
from pgpc.models.student import ForwardRequest, Outputs
from pgpc.runtime.seeding import numpy_generator, torch_generator


class SelfTraining(Base):
    """Source-only, DACS, DAFormer, HRDA and MIC, each with or without the contrast."""

    takes_target_labels = True
    accumulates = True
    merges = True
    shows_clean_target = True

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

    def passes(
        self, state: TrainingState, batch: Batch, seen: TeacherOutput, draws: torch.Generator, log: dict[str, Tensor]
    ) -> list[Pass]:
        """Return the passes of the student in the next step, without taking it."""
        passes = self.more_passes(state, batch, log)
        return [*passes, *student_passes(state, student_images(state, batch, seen, draws), WHOLE, log)]


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
    filling = config.enabled and step >= config.start - config.fill
    source, log = batch.require_source(), dict[str, Tensor]()
    shown = parts(state, len(source.images))  # all images at a time, unless training.accumulate says otherwise
    logs = [dict[str, Tensor]() for _ in shown]

    begin_step(state, rate)
    more = [more_passes(state, take(batch, part), logs[part.number]) if more_passes else [] for part in shown]
    images = StepImages(batch)
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
        images = student_images(state, batch, seen, draws)

    for part, passes in zip(shown, more, strict=True):
        passes.extend(student_passes(state, images, part, logs[part.number]))
        backward(state, passes, part)
    end_step(state, projected=any(pass_.request.project for pass_ in passes))
    return {**{name: value.detach() for name, value in log.items()}, **mean_over_parts(logs)}


class StepImages(NamedTuple):
    """All that the student is shown in a step, and what it learns from.

    Attributes:
        batch: This process's share of the images.
        seen: What the teacher says of the target; None for source-only, as what follows.
        draws: Generator of the contrast's draws, in the same state on all processes.
        mixed: Mixed images (ClassMix); None where there are none.
        masked: Images with holes (MIC); None where there are none.
    """

    batch: Batch
    seen: TeacherOutput | None = None
    draws: torch.Generator | None = None
    mixed: Mixed | None = None
    masked: Masked | None = None


def student_images(state: TrainingState, batch: Batch, seen: TeacherOutput, draws: torch.Generator) -> StepImages:
    """Return what the student is shown in a step with a teacher.

    Args:
        state: The state, whose config, step and seed decide about every draw.
        batch: This process's share of the images.
        seen: What the teacher says of the target.
        draws: Generator of the contrast's draws.
    """
    config, source, target = state.config, batch.require_source(), batch.require_target()
    mixing = config.adaptation.target_weight > 0 or (config.contrast.enabled and config.contrast.anchor_view == "mixed")
    return StepImages(
        batch,
        seen,
        draws,
        mix_images(state, source, target, seen.pseudo) if mixing else None,  # Eq. 4
        mask_images(state, source, target, seen.pseudo) if config.adaptation.masked_weight > 0 else None,
    )


def student_passes(state: TrainingState, images: StepImages, part: Part, log: dict[str, Tensor]) -> list[Pass]:
    """Return the passes of the student on one part of a step's images, in their order.

    Args:
        state: The state; the passes change nothing of it but the memory bank, where that takes source pixels from the
            student.
        images: What the student is shown.
        part: Which of the images.
        log: The scalars of the part, to which the losses are added, still connected to the graph.
    """
    source, seen, draws = images.batch.require_source(), images.seen, images.draws
    source_pass = _source_pass(state, source, part, log)  # Eq. 1, and the feature distance
    passes = []
    if images.batch.labeled_images is not None:  # the few labels of the target: Eq. 1 once more
        passes.append(_labeled_pass(state, images.batch.require_labeled(), part, log))
    if seen is None or draws is None:
        return [*passes, source_pass]
    if seen.target is not None and takes_source_from(state, "student"):
        source_pass = _remembering(source_pass, state, source.labels, draws)
    shows_target = images.mixed is not None or images.masked is not None
    if shows_target:
        passes.append(source_pass)
    anchors = seen.target if _contrasts(state) else None
    on_mixed = state.config.contrast.anchor_view == "mixed"
    if anchors is not None and not on_mixed:  # anchors on the clean target images: Eqs. 5 and 8
        passes.append(_clean_pass(state, images.batch.require_target(), anchors, part, draws, log))
    if images.mixed is not None:  # and anchors on the mixed images
        passes.append(_mixed_pass(state, images.mixed, anchors if on_mixed else None, part, draws, log))
    if images.masked is not None:
        passes.append(_masked_pass(state, images.masked, part, log))
    if not shows_target:
        # Source-only: no image of the target may reach the decoder. With the contrast the source comes last, since
        # the last pass must reach every parameter, and the one of the anchors leaves out the decoder.
        passes.append(source_pass)
    return passes


def _contrasts(state: TrainingState) -> bool:
    """Return whether anything learns from the contrast in this step, the encoder or the projection head alone."""
    contrast = state.config.contrast
    begins = contrast.start - contrast.fill if contrast.fill_trains_head else contrast.start
    return contrast.enabled and state.step >= begins


def _source_pass(state: TrainingState, source: SourceImages, part: Part, log: dict[str, Tensor]) -> Pass:
    """Return the pass of the labeled images: cross-entropy (Eq. 1), plus the feature distance where it is on."""
    adaptation = state.config.adaptation
    # Of all images before a part is taken, so that the draws do not depend on the parts.
    images, labels = take(source._replace(images=source_images(state, source.images)), part)
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
    pixels: TargetPixels,
    part: Part,
    draws: torch.Generator,
    log: dict[str, Tensor],
) -> Pass:
    """Return the pass of the clean target images: the contrast of their anchors."""
    contrast = state.config.contrast

    def loss(output: Outputs) -> Tensor:
        return contrast_loss(state, output.require_hidden(), pixels, pixels.reliable, draws, log, part)

    request = ForwardRequest(
        take(target, part).images,
        decode=False,
        project=True,
        detached=state.step < contrast.start,
        frozen_statistics=contrast.clean_statistics == "frozen",
    )
    return Pass(request, loss)


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

    before_start = state.step < state.config.contrast.start
    return Pass(ForwardRequest(images, project=pixels is not None, box=box, detached=before_start), loss)


def _masked_pass(state: TrainingState, masked: Masked, part: Part, log: dict[str, Tensor]) -> Pass:
    """Return the pass of the images with holes: cross-entropy."""
    images, labels, weight, hidden = take(masked, part)
    box = _detail_box(state, images, "masked")

    def loss(output: Outputs) -> Tensor:
        log["loss/masked"] = _segmentation_loss(state, output, labels, weight, box)
        return state.config.adaptation.masked_weight * log["loss/masked"]

    return Pass(ForwardRequest(images, box=box, hidden=hidden), loss)


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
