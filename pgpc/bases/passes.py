"""The mechanics of a training step: the student's passes, their gradients, and the optimizer's step.

A step has one or several passes of the student. Their gradients add up, and are averaged over processes once, in the
last one. Where memory is short (``training.accumulate``) the images of a step are taken in several parts, each with all
passes; a part is to a step what a process is to a group of them: the mean over parts is that over all images.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from pgpc.bases.state import TrainingState
from pgpc.models.student import ForwardRequest, Outputs
from pgpc.optimization.optimizer import projection_factor, set_learning_rate
from pgpc.runtime import distributed
from pgpc.runtime.seeding import numpy_generator, seed_everything


class Part(NamedTuple):
    """Some of this process's images of a step, whose gradients are computed at a time.

    Attributes:
        images: Which of them, by their numbers in the batch.
        number: Number of the part, from 0.
        total: Number of parts of the step.
    """

    images: slice
    number: int = 0
    total: int = 1

    @property
    def is_last(self) -> bool:
        """Whether the step ends with it."""
        return self.number == self.total - 1


WHOLE = Part(slice(None))
"""All images of a step at a time."""

Tensors = TypeVar("Tensors", bound="tuple[Any, ...]")


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
    start = max(contrast.start - contrast.fill, 0) if contrast.fill_trains_head else contrast.start
    seed_everything(state.config.seed, "dropout", state.step, distributed.rank())
    set_learning_rate(state.optimizer, rate, projection_factor(state.step, start, contrast.head_warmup))
    state.optimizer.zero_grad()


def parts(state: TrainingState, num_images: int) -> list[Part]:
    """Return the parts that a step is computed in, ``training.accumulate`` of them.

    Args:
        state: The state, whose config says how many.
        num_images: Number of images that this process has of a domain.
    """
    total = state.config.training.accumulate
    if total == 1:
        return [WHOLE]
    size = num_images // total
    return [Part(slice(i * size, (i + 1) * size), i, total) for i in range(total)]


def take(fields: Tensors, part: Part) -> Tensors:
    """Return the images of one part.

    Args:
        fields: Named tuple of tensors ``(B, ...)``, or None where there is nothing.
        part: The part.
    """
    if part.total == 1:
        return fields
    kept: Any = type(fields)
    taken: Tensors = kept(*(None if field is None else field[part.images] for field in fields))
    return taken


def mean_over_parts(logs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the scalars of a step, detached, from those of its parts, which all have the same."""
    if len(logs) == 1:
        return {name: value.detach() for name, value in logs[0].items()}
    return {name: torch.stack([log[name].detach() for log in logs]).sum(dim=0) / len(logs) for name in logs[0]}


def backward(state: TrainingState, passes: Sequence[Pass], part: Part = WHOLE) -> None:
    """Add up the gradients of all passes, and average them over processes once.

    One after the other each frees its graph before the next one is built; merged they need the memory of all, and a GPU
    has more to do at a time.

    Args:
        state: The state; the parameters of its student get the gradients.
        passes: At least one, the last of which must reach every parameter.
        part: Which of the step's images the passes show.
    """
    rounds = [passes] if state.student.merges_passes else [[pass_] for pass_ in passes]
    for at_once in rounds:
        last = part.is_last and at_once is rounds[-1]
        with contextlib.nullcontext() if last else distributed.no_sync(state.replica):
            outputs = state.replica(*(pass_.request for pass_ in at_once))
            losses = []
            for pass_, output in zip(at_once, outputs, strict=True):
                if pass_.observe is not None:
                    pass_.observe(output)
                losses.append(pass_.loss(output))
            loss = torch.stack(losses).sum()
            backward_of(state, loss if part.total == 1 else loss / part.total)
            del outputs, output, losses, loss  # or the next pass is built beside these maps


def backward_of(state: TrainingState, loss: Tensor) -> None:
    """Add the gradients of a loss, scaled up where float16 could not hold them, to those that are there.

    Args:
        state: The state; the parameters of its student get the gradients, which :func:`end_step` scales down.
        loss: Scalar.
    """
    state.scaler.scale(loss).backward()


def end_step(state: TrainingState, *, projected: bool) -> None:
    """Let the optimizer step; in float16 not where a gradient has overflown.

    Args:
        state: The state; its parameters and its step are changed. A step that was skipped counts as one: batches and
            schedules go by its number.
        projected: Whether any pass has used the projection head.
    """
    if state.student.projection is not None and not projected:
        # It took part in the averaging with gradients of zero. With these the optimizer would count steps that were
        # none, and move the head several times too fast once the contrast starts; without any it leaves it alone.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    if state.base is not None:  # no part of what averages the student's gradients
        distributed.average_gradients(state.base)
    state.scaler.step(state.optimizer)
    if state.scaler.is_enabled():
        before = state.scaler.get_scale()
        state.scaler.update()
        state.skipped = state.scaler.get_scale() < before
    state.step += 1


def image_generators(state: TrainingState, purpose: str, num: int) -> list[np.random.Generator]:
    """Return one generator for each of the `num` images of this process, by its number in the global batch."""
    first = distributed.rank() * num
    return [numpy_generator(state.config.seed, purpose, state.step, first + i) for i in range(num)]
