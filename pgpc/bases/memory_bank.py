"""The memory bank in a training step: what it takes in, and the loss of the anchors against it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pgpc.bases.passes import WHOLE, Part
from pgpc.bases.state import TrainingState
from pgpc.bases.teacher_forward import SourcePixels, TargetPixels, TeacherOutput, source_pixels
from pgpc.models.student import Student


def takes_source_from(state: TrainingState, network: str) -> bool:
    """Return whether the memory bank has source pixels, and takes them from this network.

    Args:
        state: The state; without a contrast nothing is taken.
        network: "teacher" or "student".
    """
    memory = state.contrast
    return memory is not None and memory.source is not None and state.config.contrast.source_from == network


@torch.no_grad()
def update_memory_bank(state: TrainingState, teacher: Student, output: TeacherOutput, draws: torch.Generator) -> None:
    """Add the teacher's features of one step to the memory bank (the material of Eqs. 9, 10 and 11).

    Args:
        state: The state, with a contrast; its memory bank is changed.
        teacher: The network whose projection head makes unit vectors of the hidden features.
        output: The teacher's output, with target pixels.
        draws: Generator of the step's draws, in the same state on all processes.
    """
    memory, contrast = state.require_contrast(), state.config.contrast
    if contrast.clear_at_start and state.step == contrast.start:
        memory.clear()
    assert output.target is not None, "the teacher was not asked for features"
    if output.source is not None:
        memory.enqueue_source(*output.source, draws, teacher.unit_vectors)
    memory.enqueue_target(*output.target, draws, teacher.unit_vectors)


@torch.no_grad()
def enqueue_student_source(
    state: TrainingState, teacher: Student, features: Sequence[Tensor], labels: Tensor, draws: torch.Generator
) -> None:
    """Add source pixels of the student's encoder, projected by the teacher's head, to the memory bank.

    Args:
        state: The state, with a contrast; its memory bank is changed.
        teacher: The network whose projection head is used.
        features: The student encoder's four maps of the source images.
        labels: ``(B, H, W)`` train ids of these images.
        draws: Generator of the step's draws, in the same state on all processes.
    """
    pixels: SourcePixels = source_pixels(teacher.hidden_of(features), labels)
    state.require_contrast().enqueue_source(*pixels, draws, teacher.unit_vectors)


def contrast_loss(
    state: TrainingState,
    hidden: Tensor,
    pixels: TargetPixels,
    reliable: Tensor,
    draws: torch.Generator,
    log: dict[str, Tensor],
    part: Part = WHOLE,
) -> Tensor:
    """Return the weighted loss of the anchors against the memory bank (Eq. 5), which stays as it is.

    Args:
        state: The state, with a contrast.
        hidden: ``(b, hidden, h, w)`` of the student, with gradient, of the images of `part`.
        pixels: The teacher's pseudo-labels of all B images.
        reliable: ``(B, h, w)`` bool, the candidates for anchors (Eq. 8).
        draws: Generator of the step's draws, in the same state on all processes.
        log: The step's scalars; ``loss/contrast`` and ``anchors`` are added.
        part: Which of the step's images `hidden` is of.

    Returns:
        Scalar, ``contrast.weight`` times the loss.
    """
    memory, first = state.require_contrast(), part.images.start or 0
    # Every part draws the same, among the pixels of all images.
    own_draws = draws if part.total == 1 else draws.clone_state()
    log["loss/contrast"], log["anchors"] = memory.loss(
        hidden, pixels.labels, reliable, own_draws, state.student.unit_vectors, first_image=first
    )
    return state.config.contrast.weight * log["loss/contrast"]
