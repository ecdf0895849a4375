"""The teacher: an exponential moving average of the student's parameters."""

from __future__ import annotations

import copy
import weakref
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pgpc.models.drop_path import DropPath
from pgpc.models.timm_names import is_of_timm

Module = TypeVar("Module", bound=nn.Module)


class _Pairs(NamedTuple):
    """Parameters of a teacher, beside those of its student, which are looked up once: that takes milliseconds."""

    student: weakref.ReferenceType[nn.Module]
    first: Tensor
    """The teacher's first one, by which it is seen that it has others now."""
    averages: list[Tensor]
    parameters: list[Tensor]


_pairs: weakref.WeakKeyDictionary[nn.Module, _Pairs] = weakref.WeakKeyDictionary()
_modes: weakref.WeakKeyDictionary[nn.Module, list[tuple[nn.Module, bool]]] = weakref.WeakKeyDictionary()
"""Modules below a teacher, and whether each is in train mode."""


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
    pairs = _pairs.get(teacher)
    if pairs is None or pairs.student() is not student or pairs.first is not next(teacher.parameters()):
        pairs = _pairs[teacher] = _paired(teacher, student)
    torch._foreach_lerp_(pairs.averages, pairs.parameters, 1 - a)


def teacher_mode(teacher: nn.Module) -> None:
    """Set train mode with only dropout and stochastic depth off.

    Normalization then uses the statistics of the batch at hand.

    Args:
        teacher: The teacher, whose modules must stay those that they are at the first call.
    """
    modes = _modes.get(teacher)
    if modes is None:
        modes = _modes[teacher] = _set_modes(teacher)
    teacher.training = True
    for module, training in modes:
        if module.training is not training:
            module.training = training


def _paired(teacher: nn.Module, student: nn.Module) -> _Pairs:
    theirs = dict(student.named_parameters())
    named = {name: p for name, p in teacher.named_parameters() if p is not theirs[name]}  # what is frozen they share
    return _Pairs(weakref.ref(student), next(teacher.parameters()), [*named.values()], [theirs[name] for name in named])


def _set_modes(teacher: nn.Module) -> list[tuple[nn.Module, bool]]:
    """Set the modes of all modules, and return those below the teacher itself, which must not be kept alive by it."""
    teacher.train()
    for module in teacher.modules():
        if isinstance(module, (nn.modules.dropout._DropoutNd, DropPath)) or is_of_timm(module, "DropPath"):
            module.eval()
    return [(module, module.training) for module in teacher.modules() if module is not teacher]
