"""How often a trial's workers are started again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError
from ray.train import ControllerError, FailureConfig, TrainingFailedError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.failure_handling import FailureDecision

from sweeps.execution.recovery import SNAPSHOT, Restarts, has_lost_machine

RETRY, RAISE = FailureDecision.RETRY, FailureDecision.RAISE


def died(cause: str) -> ActorDiedError:
    message = f"The actor died because its {cause} has died."
    return ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), error_message=message))


def lost(cause: str) -> TrainingFailedError:
    return WorkerGroupError("", {1: WorkerHealthCheckFailedError("", died(cause))})


PROCESS, NODE = lost("worker process"), lost("node")
BUG = WorkerGroupError("", {0: RuntimeError("a bug")})


@pytest.fixture
def restarts(tmp_path: Path) -> Restarts:
    return Restarts(FailureConfig(max_failures=2, max_preemption_failures=4), tmp_path)


def decisions(restarts: Restarts, *errors: TrainingFailedError) -> list[FailureDecision]:
    return [restarts.make_decision(error) for error in errors]


def reach(directory: Path, checkpoint: str) -> None:
    """What Train leaves when there is a new checkpoint."""
    (directory / SNAPSHOT).write_text(json.dumps({"latest_checkpoint_result": {"checkpoint_dir_name": checkpoint}}))


@pytest.mark.parametrize("error", [PROCESS, BUG], ids=["process", "error"])
def test_failures_at_one_place_end_a_trial(restarts: Restarts, error: TrainingFailedError) -> None:
    assert decisions(restarts, error, error, error) == [RETRY, RETRY, RAISE]


def test_lost_machines_have_a_limit_of_their_own(restarts: Restarts) -> None:
    assert decisions(restarts, BUG, NODE, BUG, NODE, NODE, NODE) == [RETRY] * 6
    assert decisions(restarts, NODE) == [RAISE]


def test_each_checkpoint_begins_the_count_anew(restarts: Restarts, tmp_path: Path) -> None:
    for checkpoint in ("a", "b", "c"):
        reach(tmp_path, checkpoint)
        assert decisions(restarts, PROCESS, PROCESS) == [RETRY, RETRY]
    assert decisions(restarts, PROCESS) == [RAISE]


def test_a_checkpoint_that_was_there_before_is_no_progress(restarts: Restarts, tmp_path: Path) -> None:
    reach(tmp_path, "a")
    assert decisions(restarts, BUG, BUG, BUG) == [RETRY, RETRY, RAISE]


def test_a_worker_lost_during_its_start_is_replaced(restarts: Restarts) -> None:
    assert decisions(restarts, *[ControllerError(died("worker process"))] * 3) == [RETRY, RETRY, RAISE]
    assert decisions(restarts, ControllerError(ValueError("of the controller itself"))) == [RAISE]


def test_what_is_a_lost_machine() -> None:
    assert has_lost_machine(NODE)
    assert not any(map(has_lost_machine, (PROCESS, BUG, ControllerError(died("node")))))
