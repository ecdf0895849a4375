"""What a tracking server is told, event by event; the server is one that only writes down what it hears."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.common.names import Event, Status
from sweeps.streams.stream import Stream, check_package, identity, make_tracker
from sweeps.streams.tracker import TrackedRun
from tests.sweeps.streams.conftest import Told, report


class Notebook:
    """A tracker that writes down what it is told."""

    name, place = "the notebook", "a list"

    def __init__(self) -> None:
        self.heard: list[tuple] = []
        self.runs: dict[str, TrackedRun] = {}

    def begin(self, run: TrackedRun, when: float) -> None:
        self.runs[run.label] = run
        self.heard.append(("begin", run.label))

    def report(self, run: TrackedRun, iteration: int, metrics: Mapping[str, float], when: float) -> None:
        self.heard.append(("report", run.label, iteration, dict(metrics)))

    def end(self, run: TrackedRun, status: Status, error: str, when: float) -> None:
        self.heard.append(("end", run.label, str(status), error))


def metrics(iteration: int, score: float) -> dict[str, float]:
    return {"mIoU": score, "seconds": 2.0 * iteration, "IoU/traffic light": 7.5}


def test_every_event_of_every_run(told: Told) -> None:
    heard = Notebook()
    with Stream(heard, told.sweep, print) as stream:
        base, first, second = told.run(None), told.run(0.25), told.run(0.75)
        for run in (base, first, second):
            stream.event(Event.STARTED, run)
        report(stream, base, 50, 8.0)
        report(stream, first, 50, 9.0)
        report(stream, second, 50, 1.0)
        stream.event(Event.PRUNED, second)
        report(stream, first, 100, 9.5)
        stream.event(Event.COMPLETE, first)
        stream.event(Event.JUDGED, first)  # of the trial, not of its run
        base.error = "loss/source became NaN"
        stream.event(Event.FAILED, base)
    assert heard.heard == [
        ("begin", "base"),
        ("begin", "0001"),
        ("begin", "0002"),
        ("report", "base", 50, metrics(50, 8.0)),
        ("report", "0001", 50, metrics(50, 9.0)),
        ("report", "0002", 50, metrics(50, 1.0)),
        ("end", "0002", "pruned", ""),
        ("report", "0001", 100, metrics(100, 9.5)),
        ("end", "0001", "complete", ""),
        ("end", "base", "failed", "loss/source became NaN"),
    ]
    assert heard.runs["base"].params == {} and heard.runs["0001"].params == {"contrast.eta": 0.25}
    tags = {"sweep": "first", "trial": "0001", "seed": "0", "preset": "streets", "kind": "search"}
    assert heard.runs["0001"].tags == tags
    assert heard.runs["base"].tags == {**tags, "trial": "base", "kind": "reference"}


def test_a_run_that_is_left_is_interrupted_and_the_next_driver_goes_on_with_the_same_one(told: Told) -> None:
    first, second = Notebook(), Notebook()
    run = told.run(0.25)
    with Stream(first, told.sweep, print) as stream:
        stream.event(Event.STARTED, run)
        report(stream, run, 50, 9.0)
    assert first.heard[-1] == ("end", "0000", "interrupted", "")

    with Stream(second, told.resumed(), print) as stream:
        stream.event(Event.STARTED, run)
        report(stream, run, 50, 9.0, Event.RESUMED)  # from its checkpoint: is there already
        report(stream, run, 100, 9.5)
        stream.event(Event.COMPLETE, run)
    assert second.heard == [
        ("begin", "0000"),
        ("report", "0000", 100, metrics(100, 9.5)),
        ("end", "0000", "complete", ""),
    ]
    assert second.runs["0000"].id == first.runs["0000"].id


def test_ids_tell_runs_seeds_and_sweeps_apart(tmp_path: Path) -> None:
    told = Told(tmp_path, seeds=(0, 1))
    heard = Notebook()
    with Stream(heard, told.sweep, print) as stream:
        for seed in (0, 1):
            stream.event(Event.STARTED, told.run(0.5, seed))
    assert len({run.id for run in heard.runs.values()}) == 2
    again = {"started": "2030-01-01T00:00:00+00:00", "command": "python"}
    mine = identity(told.resumed())
    assert identity(replace(told.sweep, drivers=(again,))) != mine == identity(told.sweep)


def test_a_row_of_a_table_has_what_the_rows_differ_in(tmp_path: Path) -> None:
    told = Told(tmp_path, table=(12,))
    heard = Notebook()
    run = told.run(0.5)
    run.trial = told.study.ask(told.sweep.space)
    with Stream(heard, told.sweep, print) as stream:
        stream.event(Event.STARTED, run)
    params = heard.runs[run.label].params
    assert params["row"] in told.sweep.table_configs
    assert params.keys() == {"row", *told.sweep.compared} and len(params) > 1


def test_a_copy_that_tune_makes_tells_nobody(told: Told) -> None:
    heard = Notebook()
    with Stream(heard, told.sweep, print) as stream:
        copy = pickle.loads(pickle.dumps(stream))
        copy.event(Event.STARTED, told.run(0.25))
    assert heard.heard == []


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_package_that_is_missing(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = f"--log-to {package} needs the package {package}, which is not installed. Run `pip install "
    with pytest.raises(ValueError, match=message):
        make_tracker(Told(tmp_path, log_to=package).sweep)
    check_package("none")
