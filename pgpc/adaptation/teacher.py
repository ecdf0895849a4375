"""The teacher: an exponential moving average of the student's parameters."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def make_teacher(student: Module) -> Module:
    """Return a frozen copy of a network, which shares with it what is not trained."""
    shared = {id(p): p for p in student.parameters() if not p.requires_grad}
    return copy.deepcopy(student, shared).requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, step: int, decay: float) -> None:
    """Move the teacher's parameters towards the student's.

    theta' <- a theta' + (1 - a) theta with a = min(1 - 1/(step+1), decay), which is a copy at step 0. Buffers (running
    statistics) are each network's own.

    Args:
        teacher: The teacher, which is changed in place.
        student: A module of the same structure.
        step: The 0-based iteration. The update comes before the forward passes of that iteration.
        decay: alpha, in [0, 1).
    """
    a = min(1 - 1 / (step + 1), decay)
    theirs = dict(student.named_parameters())
    pairs = [(p, theirs[name]) for name, p in teacher.named_parameters() if p is not theirs[name]]
    torch._foreach_lerp_([p for p, _ in pairs], [q for _, q in pairs], 1 - a)


def teacher_mode(teacher: nn.Module) -> None:
    """Set train mode with only dropout and stochastic depth off.

    Normalization then uses the statistics of the batch at hand.
    """
    from timm.layers.drop import DropPath

    teacher.train()
    for module in teacher.modules():
        if isinstance(module, (nn.modules.dropout._DropoutNd, DropPath)):
            module.eval()
