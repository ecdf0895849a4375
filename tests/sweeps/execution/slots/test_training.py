"""Where a training begins, and what it asks of its worker."""

from __future__ import annotations

import dataclasses
import json
import pickle
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from typing import Any

import pgpc
from pgpc.training import ForkParent, ForkTrunk, Fresh, Resume
from sweeps.execution.slots import training
from sweeps.execution.slots.training import Report, WhoIsGoing, Worker
from sweeps.results.forks import TrunkFork, read_fork
from sweeps.search.trial_spec import TrialSpec, Workers

WORKERS = Workers(count=1, cpus=1, gpus=0)


def spec(folder: Path, **others: Path) -> TrialSpec:
    return TrialSpec(label="0", config=pgpc.preset("streets"), directory=folder, workers=WORKERS, **others)


def test_a_run_begins_where_it_has_come_farthest(tmp_path: Path) -> None:
    trunk, parent, own = tmp_path / "trunk", tmp_path / "parent", tmp_path / "own"
    trunk.mkdir()
    record = {"influences": {}, "reports": [], "iterations": 4, "progress": {"seconds": 2.0}}
    (trunk / "warm_up.json").write_text(json.dumps(record))
    run = tmp_path / "run"
    assert training._begin(spec(run), 0, None) == Fresh()
    assert training._begin(spec(run, trunk=trunk, parent=parent), 0, own) == Resume(own)
    assert training._begin(spec(run, trunk=trunk, parent=parent), 0, None) == ForkParent(parent)
    assert read_fork(run) is None, "nothing of the trunk is in it"
    assert training._begin(spec(run, trunk=trunk), 0, None) == ForkTrunk(trunk)
    assert read_fork(run) == TrunkFork(trunk="trunk", iterations=4, seconds=2.0)
    accepting = dataclasses.replace(spec(run, parent=parent), accept_changed_data=True)
    assert training._begin(accepting, 0, None) == ForkParent(parent, accept_changed_data=True)
    assert training._begin(accepting, 0, own) == Resume(own, accept_changed_data=True)


def test_each_machine_that_is_taken_away_asks_for_one_checkpoint(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    asked: list[Any] = []

    def answer() -> None:
        for gone in (set(), {"a"}, {"a"}, {"a", "b"}, {"a", "b"}):
            asked.append(ours.recv())
            ours.send(gone)

    other = Thread(target=answer)
    other.start()
    worker = Worker(theirs, tmp_path)
    assert [worker.should_checkpoint() for _ in range(5)] == [False, True, False, True, False]
    other.join()
    assert asked == [WhoIsGoing()] * 5


def test_a_report_waits_for_its_answer_and_has_kept_its_checkpoint_before(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "checkpoint.pt").write_text("learned")
    reporting = Thread(target=Worker(theirs, run).report, args=({"iteration": 1.0}, scratch))
    reporting.start()
    assert ours.recv() == Report({"iteration": 1.0})
    assert [file.read_text() for file in run.glob("checkpoint_*/checkpoint.pt")] == ["learned"]
    reporting.join(0.1)
    assert reporting.is_alive()
    ours.send(None)
    reporting.join()


class Odd(Exception):
    """One that cannot be made again from its arguments."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def test_any_error_travels() -> None:
    assert repr(pickle.loads(training._pickled(ValueError("contrast.r")))) == "ValueError('contrast.r')"
    assert repr(pickle.loads(training._pickled(Odd(1, 2)))) == "RuntimeError('Odd: 1 and 2')"
