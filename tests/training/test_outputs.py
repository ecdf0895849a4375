"""Where the results of a run go, without a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from pgpc.bases.state import TrainingState
from pgpc.classes import CITYSCAPES
from pgpc.config import Config
from pgpc.models.checkpoint import read_checkpoint
from pgpc.training import Callbacks, ForkTrunk, Resume
from pgpc.training.averages import Progress
from pgpc.training.begin import FRESH, Begin
from pgpc.training.outputs import OutputPlace, RunOutputs, open_tracker
from pgpc.training.tracking import Tracker
from pgpc.training.trunk import TrunkRecord, read_record

CURVE = "loss/source"
NOTHING = {"tracker": None, "record": None, "best": None}


@pytest.fixture(autouse=True)
def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads the files of one second in the order of their names, in which a 10 comes before a 9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1_000_000))


@pytest.fixture(scope="module")
def state(tiny: Callable[..., Config]) -> TrainingState:
    return TrainingState(tiny("streets/source-only"), torch.device("cpu"))


def here(folder: Path) -> OutputPlace:
    return OutputPlace(folder, None, None)


def outputs(folder: Path, **others: Any) -> RunOutputs:
    return RunOutputs(place=here(folder), **{**NOTHING, "callbacks": Callbacks(), **others})


def points(folder: Path) -> list[tuple[int, float]]:
    """The points of a curve: iteration and time."""
    events = EventAccumulator(str(folder)).Reload()
    return [(e.step, e.wall_time) for e in events.Scalars(CURVE)] if CURVE in events.Tags()["scalars"] else []


def draw(tracker: Tracker, *steps: int) -> None:
    for step in steps:
        tracker.scalars({CURVE: float(step)}, step)


@pytest.mark.parametrize(
    ("begin", "step", "kept"), [(FRESH, 0, []), (Resume("run"), 2, [1, 2])], ids=["from the start", "resumed"]
)
def test_of_an_earlier_try_what_lies_beyond_the_checkpoint_is_dropped(
    begin: Begin, step: int, kept: list[int], state: TrainingState, tmp_path: Path
) -> None:
    for first, drawn in ((0, (1, 2, 3)), (step, ())):
        state.step = first
        tracker = open_tracker(state, here(tmp_path), begin=begin, samples=[], compared=None)
        draw(tracker, *drawn)
        tracker.close()
    assert [at for at, _ in points(tmp_path)] == kept


def test_the_curves_of_a_trunk_are_copied_once_however_often_a_fork_is_tried(
    state: TrainingState, tmp_path: Path
) -> None:
    trunk, run = tmp_path / "trunk", tmp_path / "run"
    tracker = Tracker(trunk, state.config, CITYSCAPES, step=0, samples=[], metrics=())
    draw(tracker, 1, 2, 3)
    tracker.close()
    state.step = 3
    for _ in range(2):
        open_tracker(state, here(run), begin=ForkTrunk(trunk), samples=[], compared=None).close()
    assert points(run) == points(trunk) and [at for at, _ in points(run)] == [1, 2, 3]


def test_what_is_drawn_is_on_the_disk_when_the_state_is(state: TrainingState, tmp_path: Path) -> None:
    """A process may be killed right after it."""
    state.step = 1
    tracker = open_tracker(state, here(tmp_path), begin=FRESH, samples=[], compared=None)
    draw(tracker, 1)
    outputs(tmp_path, tracker=tracker).hand_over(state, {"iteration": 1})
    assert [at for at, _ in points(tmp_path)] == [1] and read_checkpoint(tmp_path)["step"] == 1
    tracker.close()


def test_between_two_reports_a_checkpoint_has_what_the_next_one_is_made_of(
    state: TrainingState, tmp_path: Path
) -> None:
    progress, found = Progress([]), list[Any]()
    progress.add({"loss": torch.tensor(2.0)})

    def on_report(metrics: Mapping[str, float], folder: Path | None) -> None:
        assert folder is not None
        found.append(read_checkpoint(folder)["progress"])

    handing = outputs(tmp_path, callbacks=Callbacks(on_report=on_report))
    handing.hand_over(state, {}, progress)
    handing.hand_over(state, {})
    assert found == [progress.state_dict(), None] and not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("url", ["s3://bucket/run", None])
def test_what_another_run_has_left_is_removed_only_where_the_folder_is_a_copy(
    url: str | None, state: TrainingState, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "previous.pt").touch()
    place = OutputPlace(tmp_path / "run", url, None)
    open_tracker(state, place, begin=FRESH, samples=[], compared=None).close()
    assert (tmp_path / "run" / "previous.pt").exists() == (url is None)
    assert (tmp_path / "run" / "config.json").is_file()


@pytest.mark.parametrize(("reported", "expected"), [(3, []), (2, [3])], ids=["at a report", "between two"])
def test_the_end_of_a_trunk_is_handed_over_once(
    reported: int, expected: list[int], state: TrainingState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[float] = []

    def on_report(metrics: Mapping[str, float], folder: Path | None) -> None:
        handed.append(metrics["iteration"])

    monkeypatch.setattr(state, "step", 3)
    monkeypatch.setattr(state, "metrics", {"iteration": reported})
    ending = outputs(tmp_path, callbacks=Callbacks(on_report=on_report), record=TrunkRecord({}, []))
    ending.keep_report(state)
    assert read_record(tmp_path).reports == [{"iteration": reported}] and read_record(tmp_path).iterations == 0
    ending.end_trunk(state, Progress([], seconds=5.0))
    assert handed == expected
    record = read_record(tmp_path)
    assert (record.iterations, record.seconds) == (3, 5.0)
    ending.end_trunk(state, Progress([], seconds=9.0))
    assert read_record(tmp_path) == record, "a trunk that is resumed at its end stays what it is"
