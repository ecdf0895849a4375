"""Which checkpoints are removed, and when."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.common.names import Event, Kind, Status
from sweeps.execution.capacity.checkpoints import Keeper, kept_at_end, remove_at_end, remove_checkpoints
from sweeps.execution.checkpoints import snapshot_file
from sweeps.results.rows import Row

NAN = "NonFiniteLoss: loss/total became NaN"


def train(directory: Path) -> Path:
    """What a run leaves in its directory."""
    (directory / "checkpoint_2026").mkdir(parents=True)
    (directory / "checkpoint_2026" / "checkpoint.pt").touch()
    snapshot_file(directory).write_text("{}")
    (directory / "config.json").write_text("{}")
    return directory


def left(folder: Path) -> set[str]:
    """Labels of the runs that have a checkpoint."""
    return {file.parents[1].name for file in folder.glob("*/checkpoint_*/checkpoint.pt")}


def test_a_list_of_checkpoints_never_outlives_them(tmp_path: Path) -> None:
    run = train(tmp_path / "0000")
    remove_checkpoints(run)
    assert [file.name for file in run.iterdir()] == ["config.json"]
    remove_checkpoints(tmp_path / "0001")  # a run that never began


def test_runs_that_were_stopped_lose_theirs_when_their_workers_have_ended(tmp_path: Path) -> None:
    now = 0.0
    keeper = Keeper("complete", tmp_path, clock=lambda: now)

    def note(event: Event, label: str, error: str = "") -> None:
        run: Any = SimpleNamespace(label=label, error=error)
        keeper.note(event, run)

    ends = {
        "0000": (Event.PRUNED, ""),
        "0001": (Event.COMPLETE, ""),
        "0002": (Event.FAILED, NAN),
        "0003": (Event.FAILED, "a process was lost"),
    }
    for label, (event, error) in ends.items():
        train(tmp_path / label)
        note(event, label, error)
    assert left(tmp_path) == set(ends), "they may just be saving"
    now = 31.0
    note(Event.REPORTED, "0004")
    assert left(tmp_path) == {"0001", "0003"}


def test_a_run_that_is_started_again_keeps_its_checkpoint(tmp_path: Path) -> None:
    now = 0.0
    keeper = Keeper("complete", tmp_path, clock=lambda: now)
    run: Any = SimpleNamespace(label=train(tmp_path / "0000").name, error=NAN)
    for event in (Event.FAILED, Event.STARTED):
        keeper.note(event, run)
    now = 31.0
    keeper.note(Event.REPORTED, run)
    assert left(tmp_path) == {"0000"}


def test_all_are_kept_if_that_is_asked_for(tmp_path: Path) -> None:
    now = 0.0
    keeper = Keeper("all", tmp_path, clock=lambda: now)
    run: Any = SimpleNamespace(label=train(tmp_path / "0000").name, error="")
    keeper.note(Event.PRUNED, run)
    now = 99.0
    keeper.note(Event.REPORTED, run)
    remove_at_end([row(tmp_path, "0000", Status.PRUNED)], "all", set())
    assert left(tmp_path) == {"0000"}


def row(folder: Path, label: str, status: Status, **others: Any) -> Row:
    kind = Kind.REFERENCE if label == "base" else Kind.SEARCH
    values = {"label": label, "trial": label, "kind": kind, "status": status, "outcome": status, **others}
    return Row(directory=folder / label, **values)


@pytest.mark.parametrize(
    ("keep", "is_over", "expected"),
    [
        ("all", True, {"base", "0000", "0001", "0002", "0003", "0004", "0005"}),
        ("complete", True, {"base", "0000", "0001", "0004", "0005"}),
        ("best", True, {"base", "0001", "0005"}),
        ("none", True, {"0005"}),
        ("best", False, {"base", "0000", "0001", "0004", "0005"}),
        ("none", False, {"base", "0000", "0001", "0004", "0005"}),
    ],
)
def test_what_is_left_at_the_end(keep: str, is_over: bool, expected: set[str], tmp_path: Path) -> None:
    rows = [
        row(tmp_path, "base", Status.COMPLETE),
        row(tmp_path, "0000", Status.COMPLETE),
        row(tmp_path, "0001", Status.COMPLETE),
        row(tmp_path, "0002", Status.PRUNED),
        row(tmp_path, "0003", Status.FAILED, error=NAN),
        row(tmp_path, "0004", Status.FAILED, error="a process was lost"),
        row(tmp_path, "0005", Status.INTERRUPTED),
    ]
    for found in rows:
        train(found.directory)
    remove_at_end(rows, keep, kept_at_end(keep, "0001", rows) if is_over else None)
    assert left(tmp_path) == expected


def test_the_front_is_kept_with_the_best(tmp_path: Path) -> None:
    rows = [row(tmp_path, f"000{i}", Status.COMPLETE, pareto=i > 0) for i in range(3)]
    assert kept_at_end("best", "0002", rows) == {"base", "0001", "0002"}
