"""How often a trial's workers are started again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from sweeps.common.private_ray import (
    ControllerError,
    FailureConfig,
    FailureDecision,
    TrainingFailedError,
    WorkerGroupError,
    WorkerGroupStartupFailedError,
)
from sweeps.execution.checkpoints import snapshot_file
from sweeps.execution.recovery import MAX_FAILURES, MAX_LOST_MACHINES, RecoveryPolicy, has_lost_machine
from sweeps.execution.run_errors import describe
from tests.helpers.pages import page

RETRY, RAISE = FailureDecision.RETRY, FailureDecision.RAISE


def died(cause: str) -> ActorDiedError:
    message = f"The actor died because its {cause} has died."
    return ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), error_message=message))


def lost(cause: str) -> TrainingFailedError:
    return WorkerGroupError("", {1: WorkerHealthCheckFailedError("", died(cause))})


PROCESS, NODE = lost("worker process"), lost("node")
BUG = WorkerGroupError("", {0: RuntimeError("a bug")})


@pytest.fixture
def policy(tmp_path: Path) -> RecoveryPolicy:
    return RecoveryPolicy(FailureConfig(max_failures=2, max_preemption_failures=4), lambda: tmp_path)


def decisions(policy: RecoveryPolicy, *errors: TrainingFailedError) -> list[FailureDecision]:
    return [policy.make_decision(error) for error in errors]


def reach(directory: Path, checkpoint: str) -> None:
    """What a run leaves when there is a new checkpoint."""
    snapshot_file(directory).write_text(json.dumps({"latest_checkpoint_result": {"checkpoint_dir_name": checkpoint}}))


@pytest.mark.parametrize("error", [PROCESS, BUG], ids=["process", "error"])
def test_failures_at_one_place_end_a_trial(policy: RecoveryPolicy, error: TrainingFailedError) -> None:
    assert decisions(policy, error, error, error) == [RETRY, RETRY, RAISE]


def test_lost_machines_have_a_limit_of_their_own(policy: RecoveryPolicy) -> None:
    assert decisions(policy, BUG, NODE, BUG, NODE, NODE, NODE) == [RETRY] * 6
    assert decisions(policy, NODE) == [RAISE]


def test_each_checkpoint_begins_the_count_anew(policy: RecoveryPolicy, tmp_path: Path) -> None:
    for checkpoint in ("a", "b", "c"):
        reach(tmp_path, checkpoint)
        assert decisions(policy, PROCESS, PROCESS) == [RETRY, RETRY]
    assert decisions(policy, PROCESS) == [RAISE]


def test_a_checkpoint_that_was_there_before_is_no_progress(policy: RecoveryPolicy, tmp_path: Path) -> None:
    reach(tmp_path, "a")
    assert decisions(policy, BUG, BUG, BUG) == [RETRY, RETRY, RAISE]


def test_each_run_is_counted_by_itself_and_nothing_is_replaced_between_two(tmp_path: Path) -> None:
    runs: list[Path | None] = [tmp_path / "0000"]
    policy = RecoveryPolicy(FailureConfig(max_failures=2, max_preemption_failures=4), lambda: runs[-1])
    assert decisions(policy, PROCESS, BUG) == [RETRY, RETRY]
    runs.append(tmp_path / "0001")
    assert decisions(policy, PROCESS, BUG, PROCESS) == [RETRY, RETRY, RAISE]
    runs.append(None)
    assert decisions(policy, PROCESS, NODE) == [RAISE, RAISE]


def not_started(cause: str) -> TrainingFailedError:
    failure = WorkerGroupStartupFailedError("One of the worker actors failed to initialize")
    failure.__cause__ = died(cause)
    return ControllerError(failure)


@pytest.mark.parametrize("error", [ControllerError(died("worker process")), not_started("worker process")])
def test_a_worker_lost_during_its_start_is_replaced_twice(policy: RecoveryPolicy, error: TrainingFailedError) -> None:
    assert decisions(policy, *[error] * 3) == [RETRY, RETRY, RAISE]
    assert describe(error).startswith("a process was lost (")


def test_a_machine_lost_during_the_start_counts_as_one(policy: RecoveryPolicy) -> None:
    assert decisions(policy, *[not_started("node")] * 5) == [RETRY] * 4 + [RAISE]


def test_an_error_of_the_controller_itself_ends_a_trial(policy: RecoveryPolicy) -> None:
    assert decisions(policy, ControllerError(ValueError("of the controller itself"))) == [RAISE]


def test_what_is_a_lost_machine() -> None:
    assert has_lost_machine(NODE)
    assert not any(map(has_lost_machine, (PROCESS, BUG, ControllerError(died("node")))))


def test_the_faq_says_how_often() -> None:
    answer = page("faq.md").partition("**A trial's process was killed")[2].partition("**All my trials fail")[0]
    assert MAX_FAILURES == 2 and "replaced twice in a row" in answer.replace("\n", " ")
    assert f"lost machines {MAX_LOST_MACHINES} times" in answer.replace("\n", " ")
