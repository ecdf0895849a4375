"""What a run tells its training, and what it says of an error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

import pgpc
from pgpc.training import ForkParent, ForkTrunk, Fresh, Resume
from sweeps.common import faults
from sweeps.common.private_ray import WorkerGroupError
from sweeps.execution import trial
from sweeps.execution.joining import shared_folder
from sweeps.execution.trial import FailFast, describe, preemption_watcher
from sweeps.results.forks import TrunkFork, read_fork
from sweeps.search.trial_spec import TrialSpec, Workers

WORKERS = Workers(count=1, cpus=1, gpus=0)


def spec(folder: Path, **others: Path) -> TrialSpec:
    return TrialSpec(label="0", config=pgpc.preset("streets"), directory=folder, workers=WORKERS, **others)


def test_a_worker_that_does_not_see_the_runs_folder_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another node a folder of that name may be another one, in which results would be lost."""
    monkeypatch.setattr(shared_folder, "PATIENCE", 0.3)
    with pytest.raises(ValueError, match="what the head has written in .*run is not there on"):
        trial.train_loop(spec(tmp_path / "run").to_plain())
    assert list(tmp_path.iterdir()) == []


def test_lost_process_says_what_to_lower() -> None:
    lost = ray.exceptions.ActorDiedError()
    assert describe(lost).startswith("a process was lost (ActorDiedError: The actor died unexpectedly")
    assert describe(lost).endswith(faults.LESS_MEMORY)
    assert describe(MemoryError()) == f"MemoryError. To need less, {faults.LESS_MEMORY}"
    assert describe(ValueError("contrast.r must be smaller")) == "ValueError: contrast.r must be smaller"


def test_the_process_that_was_lost_is_named_before_those_that_met_it() -> None:
    error = WorkerGroupError("", {0: RuntimeError("connection closed"), 1: ray.exceptions.ActorDiedError()})
    assert describe(error).startswith("a process was lost")
    assert describe(WorkerGroupError("", {0: RuntimeError("a bug"), 1: ValueError("another")})) == "a bug"


def test_a_run_begins_where_it_has_come_farthest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_world_rank=lambda: 0))
    trunk, parent, own = tmp_path / "trunk", tmp_path / "parent", tmp_path / "own"
    trunk.mkdir()
    record = {"influences": {}, "reports": [], "iterations": 4, "progress": {"seconds": 2.0}}
    (trunk / "warm_up.json").write_text(json.dumps(record))
    run = tmp_path / "run"
    assert trial._begin(spec(run), None) == Fresh()
    assert trial._begin(spec(run, trunk=trunk, parent=parent), own) == Resume(own)
    assert trial._begin(spec(run, trunk=trunk, parent=parent), None) == ForkParent(parent)
    assert read_fork(run) is None, "nothing of the trunk is in it"
    assert trial._begin(spec(run, trunk=trunk), None) == ForkTrunk(trunk)
    assert read_fork(run) == TrunkFork(trunk="trunk", iterations=4, seconds=2.0)
    accepting = dataclasses.replace(spec(run, parent=parent), accept_changed_data=True)
    assert trial._begin(accepting, None) == ForkParent(parent, accept_changed_data=True)
    assert trial._begin(accepting, own) == Resume(own, accept_changed_data=True)


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
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_that_would_come_again_ends_a_run_and_a_lost_process_does_not(
    error: Exception, comes_again: bool
) -> None:
    with pytest.raises(type(error)) if comes_again else contextlib.nullcontext():
        FailFast().after_exception(None, {0: RuntimeError("connection closed by peer"), 1: error})


def test_each_machine_that_is_taken_away_asks_for_one_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    monkeypatch.setattr("ray.train.get_preemption_info", lambda: SimpleNamespace(preempted_node_ids=gone))
    should_checkpoint = preemption_watcher()
    assert not should_checkpoint()
    gone.append("a")
    assert [should_checkpoint(), should_checkpoint()] == [True, False]
    gone.append("b")
    assert [should_checkpoint(), should_checkpoint()] == [True, False]
    monkeypatch.setattr("ray.train.get_preemption_info", lambda: None)
    assert not preemption_watcher()()
