"""How often a trial's workers are started again."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.exceptions import CheckpointManagerInitializationError, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.storage import StorageContext

from sweeps.common.private_ray import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    FailureDecision,
    TrainingFailedError,
    WorkerGroupError,
    list_of_checkpoints,
)
from sweeps.execution.recovery import (
    CHECKPOINT,
    RecoveryPolicy,
    drop_unlisted_checkpoints,
    has_lost_machine,
    mend_snapshot,
    newest_checkpoint,
    snapshot_file,
)

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
    return RecoveryPolicy(FailureConfig(max_failures=2, max_preemption_failures=4), tmp_path)


def decisions(policy: RecoveryPolicy, *errors: TrainingFailedError) -> list[FailureDecision]:
    return [policy.make_decision(error) for error in errors]


def reach(directory: Path, checkpoint: str) -> None:
    """What Train leaves when there is a new checkpoint."""
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


def test_a_worker_lost_during_its_start_is_replaced(policy: RecoveryPolicy) -> None:
    assert decisions(policy, *[ControllerError(died("worker process"))] * 3) == [RETRY, RETRY, RAISE]
    assert decisions(policy, ControllerError(ValueError("of the controller itself"))) == [RAISE]


def test_what_is_a_lost_machine() -> None:
    assert has_lost_machine(NODE)
    assert not any(map(has_lost_machine, (PROCESS, BUG, ControllerError(died("node")))))


def test_checkpoints_that_a_killed_process_has_left_in_part_are_removed(tmp_path: Path) -> None:
    for name in ("checkpoint_1", "checkpoint_2"):
        (tmp_path / name).mkdir()

    def left() -> list[str]:
        drop_unlisted_checkpoints(tmp_path)
        return sorted(path.name for path in tmp_path.glob("checkpoint_?"))

    assert left() == ["checkpoint_1", "checkpoint_2"], "nothing is known without a list"
    for listed, kept in ((["checkpoint_3"], 2), ([], 2), (["checkpoint_1"], 1)):
        entries = [{"checkpoint_dir_name": name} for name in listed]
        snapshot_file(tmp_path).write_text(json.dumps({"checkpoint_results": entries}))
        assert len(left()) == kept
    assert left() == ["checkpoint_1"]


def leave(directory: Path, *names: str) -> None:
    """Checkpoints as Train leaves them."""
    for name in names:
        (directory / name).mkdir(parents=True)
        with zipfile.ZipFile(directory / name / CHECKPOINT, "w") as archive:
            archive.writestr("data", "learned")


def known_to_train(directory: Path) -> str | None:
    """The name of the checkpoint that Train would go on from.

    Raises:
        CheckpointManagerInitializationError: Train refuses the run.
    """
    storage = StorageContext(storage_path=str(directory.parent), experiment_dir_name=directory.name)
    found = CheckpointManager(CheckpointConfig(num_to_keep=1), storage).latest_checkpoint_result
    return None if found is None else Path(found.checkpoint.path).name


@pytest.mark.parametrize("text", ['{"checkpoint_res', "[]", '{"checkpoint_results": 3}', None])
def test_a_list_that_names_nothing_that_is_there_falls_back(text: str | None, tmp_path: Path) -> None:
    run = tmp_path / "0000"
    leave(run, "checkpoint_0", "checkpoint_1", "checkpoint_2")
    os.truncate(run / "checkpoint_2" / CHECKPOINT, 40)  # the copy of it was cut short
    gone = list_of_checkpoints("checkpoint_3")
    snapshot_file(run).write_text(gone if text is None else text)
    with pytest.raises(CheckpointManagerInitializationError):
        known_to_train(run)
    mend_snapshot(run)
    assert known_to_train(run) == newest_checkpoint(run) == "checkpoint_1"


def test_a_list_is_removed_where_there_is_no_checkpoint_and_left_alone_where_it_is_right(tmp_path: Path) -> None:
    mend_snapshot(tmp_path)
    assert not any(tmp_path.iterdir())
    snapshot_file(tmp_path).write_text(list_of_checkpoints("checkpoint_3"))
    (tmp_path / "checkpoint_3").mkdir()
    mend_snapshot(tmp_path)
    assert not snapshot_file(tmp_path).exists(), "a folder without the file is no checkpoint"
    leave(tmp_path, "checkpoint_4", "checkpoint_5")
    right = list_of_checkpoints("checkpoint_4")
    snapshot_file(tmp_path).write_text(right)
    mend_snapshot(tmp_path)
    assert snapshot_file(tmp_path).read_text() == right
