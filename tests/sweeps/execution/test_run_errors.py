"""Which errors of a run would only come again, and what is said of them."""

from __future__ import annotations

import contextlib
import os

import pytest
import ray

import pgpc
from sweeps.common import faults
from sweeps.common.private_ray import WorkerGroupError
from sweeps.execution.run_errors import FailFast, describe
from sweeps.execution.slots.training_process import LostTraining


def test_lost_process_says_what_to_lower() -> None:
    lost = ray.exceptions.ActorDiedError()
    assert describe(lost).startswith("a process was lost (ActorDiedError: The actor died unexpectedly")
    assert describe(lost).endswith(faults.LESS_MEMORY)
    assert describe(LostTraining("ended with exit code -9.")).startswith("a process was lost (LostTraining: ended with")
    assert describe(MemoryError()) == f"MemoryError. To need less, {faults.LESS_MEMORY}"
    assert describe(ValueError("contrast.r must be smaller")) == "ValueError: contrast.r must be smaller"


def test_the_process_that_was_lost_is_named_before_those_that_met_it() -> None:
    error = WorkerGroupError("", {0: RuntimeError("connection closed"), 1: ray.exceptions.ActorDiedError()})
    assert describe(error).startswith("a process was lost")
    assert describe(WorkerGroupError("", {0: RuntimeError("a bug"), 1: ValueError("another")})) == "a bug"


@pytest.mark.parametrize(
    ("error", "comes_again"),
    [
        (ValueError("data.crop must be smaller"), True),
        (pgpc.NonFiniteLoss("loss/source became infinite or NaN"), True),
        (RuntimeError("CUDA out of memory"), True),
        (MemoryError(), True),
        (OSError(28, os.strerror(28)), True),
        (RuntimeError("connection closed by peer"), False),
        (ray.exceptions.OutOfMemoryError("the machine was out of memory"), False),
        (ray.exceptions.ActorDiedError(), False),
        (LostTraining("A training process has ended with exit code -9."), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_that_would_come_again_ends_a_run_and_a_lost_process_does_not(
    error: Exception, comes_again: bool
) -> None:
    with pytest.raises(type(error)) if comes_again else contextlib.nullcontext():
        FailFast().after_exception(None, {0: RuntimeError("connection closed by peer"), 1: error})
