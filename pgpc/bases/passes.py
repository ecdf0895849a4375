"""The mechanics of a training step: the student's passes, their gradients, and the optimizer's step.

A step has one or several passes of the student. Their gradients add up, and are averaged over processes once, in the
last one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pgpc.bases.state import TrainingState
from pgpc.models.student import ForwardRequest, Outputs
from pgpc.optimization.optimizer import projection_factor, set_learning_rate
from pgpc.runtime import distributed
from pgpc.runtime.seeding import numpy_generator, seed_everything


class Pass(NamedTuple):
    """What the student is shown in a step, and what is learned from it.

    Attributes:
        request: The images, and what is asked for of them.
        loss: Function from the outputs to a scalar.
        observe: Called with the outputs before any loss of a later pass is computed, for what a step remembers of
            them; None where nothing is remembered.
    """

    request: ForwardRequest
    loss: Callable[[Outputs], Tensor]
    observe: Callable[[Outputs], None] | None = None


def begin_step(state: TrainingState, rate: float) -> None:
    """Seed what the networks draw in this step, set the learning rate, and clear the gradients.

    Args:
        state: The state; its step tells which step this is.
        rate: Learning rate of the encoder.
    """
    contrast = state.config.contrast
    seed_everything(state.config.seed, "dropout", state.step, distributed.rank())
    set_learning_rate(state.optimizer, rate, projection_factor(state.step, contrast.start, contrast.head_warmup))
    state.optimizer.zero_grad()


def backward(state: TrainingState, passes: Sequence[Pass]) -> None:
    """Add up the gradients of all passes, and average them over processes once.

    One after the other each frees its graph before the next one is built; merged they need the memory of all, and a GPU
    has more to do at a time.

    Args:
        state: The state; the parameters of its student get the gradients.
        passes: At least one, the last of which must reach every parameter.
    """
    rounds = [passes] if state.config.training.merge_passes else [[pass_] for pass_ in passes]
    for at_once in rounds:
        with contextlib.nullcontext() if at_once is rounds[-1] else distributed.no_sync(state.replica):
            outputs = state.replica(*(pass_.request for pass_ in at_once))
            losses = []
            for pass_, output in zip(at_once, outputs, strict=True):
                if pass_.observe is not None:
                    pass_.observe(output)
                losses.append(pass_.loss(output))
            torch.stack(losses).sum().backward()
            del outputs, output, losses  # or the next pass is built beside these maps


def end_step(state: TrainingState, *, projected: bool) -> None:
    """Let the optimizer step.

    Args:
        state: The state; its parameters and its step are changed.
        projected: Whether any pass has used the projection head.
    """
    if state.student.projection is not None and not projected:
        # It took part in the averaging with gradients of zero. With these the optimizer would count steps that were
        # none, and move the head several times too fast once the contrast starts; without any it leaves it alone.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    state.optimizer.step()
    state.step += 1


def image_generators(state: TrainingState, purpose: str, num: int) -> list[np.random.Generator]:
    """Return one generator for each of the `num` images of this process, by its number in the global batch."""
    first = distributed.rank() * num
    return [numpy_generator(state.config.seed, purpose, state.step, first + i) for i in range(num)]
