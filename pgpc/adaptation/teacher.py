"""The teacher: an exponential moving average of the student's parameters."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def make_teacher(student: Module) -> Module:
    """A frozen copy of the student."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, step: int, decay: float) -> None:
    """theta' <- a theta' + (1 - a) theta with a = min(1 - 1/(step+1), decay); a copy at step 0.

    Parameters only: buffers (running statistics) are each network's own.

    Args:
        teacher: changed in place.
        student: a module of the same structure.
        step: 0-based iteration. The update comes before the forward passes of that iteration.
        decay: alpha, in [0, 1).
    """
    a = min(1 - 1 / (step + 1), decay)
    theirs = dict(student.named_parameters())
    pairs = [(p, theirs[name]) for name, p in teacher.named_parameters()]
    torch._foreach_lerp_([p for p, _ in pairs], [q for _, q in pairs], 1 - a)


def teacher_mode(teacher: nn.Module) -> None:
    """Train mode with only dropout and stochastic depth off: normalization uses the statistics of the batch at hand."""
    from timm.layers import DropPath

    teacher.train()
    for module in teacher.modules():
        if isinstance(module, (nn.modules.dropout._DropoutNd, DropPath)):
            module.eval()
