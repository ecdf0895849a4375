"""The table of a running sweep, drawn for terminals of several sizes."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from ray import cloudpickle
from rich.console import Console

from sweeps.common.latest import write_latest
from sweeps.common.names import Event, Status
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.selection import Selection
from sweeps.definition.sweep import Sweep as SweepOnDisk
from sweeps.progress.live import LiveTerminal
from sweeps.progress.live_table import Plan
from sweeps.progress.plain import Terminal, resumed_text
from sweeps.progress.terminals import open_terminal
from sweeps.results.rows import read_parquet
from sweeps.search import replicates
from sweeps.search.searcher import Run
from tests.helpers.reports import make_sweep

PARAMS = {"contrast.r": 4, "contrast.eta": 0.5, "contrast.weight": 0.1}
SPACE = {
    "contrast.r": optuna.distributions.IntDistribution(1, 8),
    "contrast.eta": optuna.distributions.FloatDistribution(0.0, 1.0),
    "contrast.weight": optuna.distributions.FloatDistribution(0.0, 1.0),
}
UP = "\x1b[1A"


class Screen(io.StringIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        return True


class Sweep:
    """Makes runs and tells a terminal about them as `StudySearcher` does."""

    def __init__(self, out: Terminal, seeds: tuple[int, ...] = (0,)):
        self.out, self._seeds, self._study = out, seeds, optuna.create_study(direction="maximize")

    def start(self, seed: int = 0, of: Run | None = None) -> Run:
        trial = of.trial if of else None
        if trial is None:
            self._study.enqueue_trial(PARAMS)
            trial = self._study.ask(SPACE)
        trial_label = f"{trial.number:04d}"
        label = trial_label + replicates.suffix(seed, self._seeds)
        run = Run(
            label=label,
            trial_label=trial_label,
            seed=seed,
            iterations=100,
            study=self._study,
            trial=trial,
            selection=Selection.parse("mIoU"),
        )
        self.out.event(Event.STARTED, run)
        return run

    def report(self, run: Run, iteration: int, score: float) -> None:
        run.metrics = {"iteration": iteration, "mIoU": score}
        self.out.event(Event.REPORTED, run)

    def end(self, run: Run, status: Status, state: TrialState | None) -> None:
        replicates.set_metrics(run.trial, run.seed, self._seeds, run.metrics)
        replicates.set_status(run.trial, run.seed, self._seeds, status)
        if state:
            values = replicates.values(run.trial, self._seeds).values()
            self._study.tell(run.trial, replicates.mean(values) if state == TrialState.COMPLETE else None, state=state)
        self.out.event(Event(status.value), run)


@pytest.fixture
def live(tmp_path: Path) -> Callable[..., LiveTerminal]:
    """Makes a live terminal that draws into a string."""

    def make(width: int = 80, height: int = 24, seeds: tuple[int, ...] = (0,), num_trials: int = 4) -> LiveTerminal:
        console = Console(file=Screen(), force_terminal=True, width=width, height=height, color_system=None)
        columns = tuple(key.rpartition(".")[2] for key in SPACE)
        plan = Plan(num_trials=num_trials, done=0, has_reference=False, columns=columns, trials=tmp_path)
        return LiveTerminal(console, seeds, None, plan)

    return make


def drawn(live: LiveTerminal, width: int = 80, height: int = 24) -> list[str]:
    """The lines of the picture."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(live.picture(width, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_running_and_finished_trials(live: Callable[..., LiveTerminal]) -> None:
    table = live()
    sweep = Sweep(table)
    first, second, third = (sweep.start() for _ in range(3))
    assert " left -" in drawn(table)[0]
    sweep.report(first, 100, 10.168)
    sweep.end(first, Status.COMPLETE, TrialState.COMPLETE)
    sweep.report(second, 50, 8.0)
    sweep.report(third, 20, 7.0)
    sweep.end(third, Status.PRUNED, TrialState.PRUNED)
    head, names, *rows = drawn(table)
    assert head.startswith("best 10.17 (0000)   trials 2/4   elapsed 0:0") and "left 0:0" in head
    assert names.split() == ["trial", "mIoU", "r", "eta", "weight"]
    assert rows[0].split() == ["0001", "#" * 15 + "." * 15, "50/100", "8.00", "4", "0.5", "0.1"]
    assert [row.split()[:4] for row in rows[1:]] == [
        ["0002", "pruned", "20/100", "7.00"],
        ["0000", "complete", "100/100", "10.17"],
    ]


def test_one_row_per_run_of_several_seeds_and_one_for_the_mean(live: Callable[..., LiveTerminal]) -> None:
    table = live(seeds=(0, 1))
    sweep = Sweep(table, (0, 1))
    run = sweep.start(seed=0)
    sweep.report(run, 100, 10.0)
    sweep.end(run, Status.COMPLETE, None)
    assert "best -   trials 0/4" in drawn(table)[0], "the trial goes on with its other seed"
    run = sweep.start(seed=1, of=run)
    sweep.report(run, 100, 11.0)
    assert [line.split()[0] for line in drawn(table)[2:]] == ["0000-s1", "0000-s0"]
    sweep.end(run, Status.COMPLETE, TrialState.COMPLETE)
    table.event(Event.JUDGED, run)
    head, _, mean, *rows = drawn(table)
    assert "best 10.50 (0000)   trials 1/4" in head
    assert mean.split()[:4] == ["0000", "mean", "over", "seeds"] and "10.5" in mean
    assert [row.split()[0] for row in rows] == ["0000-s1", "0000-s0"]


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 10, 24, 60])
@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_never_higher_or_wider_than_the_terminal(live: Callable[..., LiveTerminal], width: int, height: int) -> None:
    table = live(num_trials=60)
    sweep = Sweep(table)
    for _ in range(8):
        sweep.end(sweep.start(), Status.PRUNED, TrialState.PRUNED)
    for _ in range(40):
        sweep.report(sweep.start(), 50, 9.0)
    lines = drawn(table, width, height)
    assert len(lines) <= max(height - 1, 1)
    assert max(map(len, lines)) <= width
    if height == 10 and width > 20:
        assert lines[-1] == "and 34 more"
        assert [line.split()[0] for line in lines[2:-1]] == [f"{number:04d}" for number in range(8, 14)]
    if height == 60 and width > 20:
        assert [line.split()[0] for line in lines[-6:]] == [f"{number:04d}" for number in range(7, 1, -1)]


def test_parameters_without_room_are_left_out_the_last_first(live: Callable[..., LiveTerminal]) -> None:
    table = live()
    sweep = Sweep(table)
    sweep.report(sweep.start(), 50, 9.0)
    assert drawn(table, width=45)[1].split() == ["trial", "mIoU", "r", "eta", "weight"]
    assert drawn(table, width=44)[1].split() == ["trial", "mIoU", "r", "eta", ".."]
    assert drawn(table, width=35)[1].split() == ["trial", "mIoU", ".."]


def test_only_mishaps_are_said_above_the_table_which_vanishes(
    live: Callable[..., LiveTerminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, logged = live(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", table._console.file)
    monkeypatch.setattr(sys, "stderr", logged)
    sweep = Sweep(table)
    table.write("before")
    with table:
        table.say("trunk  started")
        run = sweep.start()
        sweep.report(run, 50, 9.0)
        run.error = "a worker was lost"
        table.event(Event.RESTARTED, run)
        run.error = "NonFiniteLoss"
        print("what Ray", "says")
        print("(raylet) WARNING: 8 PYTHON worker processes have been started on node: 6ed7")
        sweep.end(run, Status.FAILED, TrialState.FAIL)
        wait_for(lambda: "failed" in table._console.file.getvalue())
        table.say("stopping")
        print("a warning", file=sys.stderr)
    table.write("after")
    text = table._console.file.getvalue()
    assert text.startswith("before\n") and text.endswith("after\n")
    said = [
        "] trunk  started",
        "0000  a worker was lost; it is started again from its last checkpoint",
        "what Ray says",
        "0000  FAILED: NonFiniteLoss",
    ]
    places = [text.index(line) for line in [*said, "trials 1/4", "] stopping", "after"]]
    assert places == sorted(places)
    assert text.count("] ") == 4 and "PYTHON" not in text, "nothing else is said"
    assert logged.getvalue() == "a warning\n", "what goes into a file goes on to do so"
    assert UP in text[text.rindex("trials 1/4") :], "the table is wiped off"


def test_after_a_resize_everything_is_drawn_anew(live: Callable[..., LiveTerminal]) -> None:
    table = live()
    table.write("before")
    screen = table._console.file
    with table:
        table.say("a line")
        wait_for(lambda: "a line" in screen.getvalue())
        table._console.size = (40, 10)
        wait_for(lambda: "\x1b[2J" in screen.getvalue())
    anew = screen.getvalue().partition("\x1b[2J")[2]
    assert [part in anew for part in ("before", "a line", "trials 0/4")] == [True] * 3


def test_tune_can_keep_a_copy_of_what_holds_it(live: Callable[..., LiveTerminal]) -> None:
    with live() as table:
        copy = cloudpickle.loads(cloudpickle.dumps(lambda text: table.say(text)))
        copy("lost")
    assert "lost" not in table._console.file.getvalue()


def test_without_colors_where_the_user_wants_none(
    live: Callable[..., LiveTerminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = live()
    sweep = Sweep(table)
    sweep.report(sweep.start(), 50, 9.0)
    sweep.end(sweep.start(), Status.FAILED, TrialState.FAIL)

    def codes() -> str:
        console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80, height=24)
        console.print(table.picture(80, 24))
        return console.file.getvalue()

    assert "\x1b[31m" in codes()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any(f"\x1b[3{color}m" in codes() for color in range(8))


def test_lines_where_nobody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    sweep = new_sweep(SweepOptions(storage=str(tmp_path), name="a"))
    assert type(open_terminal(Screen(), sweep, [])) is LiveTerminal
    assert type(open_terminal(io.StringIO(), sweep, [])) is Terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert type(open_terminal(io.StringIO(), sweep, [])) is Terminal
    monkeypatch.setenv("TERM", "dumb")
    assert type(open_terminal(Screen(), sweep, [])) is Terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("CI", "true")
    assert type(open_terminal(Screen(), sweep, [])) is Terminal


def test_lines_of_every_event() -> None:
    out = io.StringIO()
    sweep = Sweep(Terminal(out, (0,)))
    with sweep.out:
        run = sweep.start()
        sweep.report(run, 50, 9.0)
        sweep.end(run, Status.COMPLETE, TrialState.COMPLETE)
    said = [line.partition("] ")[2] for line in out.getvalue().splitlines()]
    assert said == [
        "0000  started with r 4, eta 0.5, weight 0.1",
        "0000  iteration 50 of 100, mIoU 9.00",
        "0000  complete, mIoU 9.00 (best so far 9.00, trial 0000)",
    ]


def test_every_event_has_a_line_of_its_own() -> None:
    out = io.StringIO()
    sweep = Sweep(Terminal(out, (0,)))
    run = sweep.start()
    run.metrics, run.error = {"iteration": 20, "mIoU": 7.0}, "a worker was lost"
    replicates.set_metrics(run.trial, 0, (0,), run.metrics)
    replicates.set_status(run.trial, 0, (0,), Status.COMPLETE)
    for event in Event:
        sweep.out.event(event, run)
    lines = [line.partition("] ")[2] for line in out.getvalue().splitlines()[1:]]
    assert len(set(lines)) == len(lines) == len(Event) and all(line.startswith("0000  ") for line in lines)
    assert "0000  pruned (stopped early) at iteration 20 of 100, mIoU 7.00" in lines
    assert "0000  resumed from its checkpoint at iteration 20 of 100" in lines
    assert "0000  started with r 4, eta 0.5, weight 0.1, resumed from iteration 20" in lines


def test_time_left_leaves_out_what_the_trunk_has_given(
    live: Callable[..., LiveTerminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    table = live(num_trials=2)
    sweep = Sweep(table)
    run = sweep.start()
    (tmp_path / "0000").mkdir()
    (tmp_path / "0000" / "forked.json").write_text(json.dumps({"warm_up": "a", "iterations": 40, "seconds": 9.0}))
    now[0] = 10.0
    sweep.report(run, 40, 1.0)
    assert drawn(table)[0].endswith("left -")
    now[0] = 20.0
    sweep.report(run, 60, 1.0)  # 20 iterations in 20 s; 40 + 60 are left
    assert drawn(table)[0].endswith("left 1:40")
    now[0] = 30.0
    assert drawn(table)[0].endswith("elapsed 0:30   left 1:30")


def point(iteration: int, source: float = 0.5) -> dict[str, float]:
    return {"iteration": iteration, "loss/source": source, "loss/contrast": 1.25, "images_per_second": 12.34, "x": 9.0}


def test_progress_between_evaluations(
    live: Callable[..., LiveTerminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    table = live(num_trials=2)
    sweep = Sweep(table)
    write_latest(tmp_path / "0000", point(90))  # of a driver before, beyond the checkpoint
    run = sweep.start()
    table.look()
    assert drawn(table)[2].split()[2:5] == ["0/100", "-", "4"] and drawn(table)[0].endswith("left -")
    write_latest(tmp_path / "0000", point(20))
    now[0] = 10.0
    table.look()
    head, names, row = drawn(table)
    assert names.split() == ["trial", "mIoU", "loss", "img/s", "r", "eta", "weight"]
    assert row.split()[2:] == ["20/100", "-", "1.75", "12.3", "4", "0.5", "0.1"]
    assert head.endswith("left 1:30"), "2 iterations a second; 80 and 100 are left"
    sweep.report(run, 50, 9.0)
    table.look()
    assert drawn(table)[2].split()[2:4] == ["50/100", "9.00"], "what was reported is newer"
    run.error = "a worker was lost"
    table.event(Event.RESTARTED, run)
    sweep.end(run, Status.COMPLETE, TrialState.COMPLETE)
    assert drawn(table)[1].split() == ["trial", "mIoU", "r", "eta", "weight"], "nothing runs"


def test_between_evaluations_too_the_trunk_has_taken_no_time(
    live: Callable[..., LiveTerminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    table = live(num_trials=1)
    Sweep(table).start()
    write_latest(tmp_path / "0000", point(60))
    (tmp_path / "0000" / "forked.json").write_text(json.dumps({"warm_up": "a", "iterations": 40, "seconds": 9.0}))
    now[0] = 10.0
    table.look()
    assert drawn(table)[0].endswith("left 0:20"), "20 iterations in 10 s; 40 are left"


def test_what_is_not_known_yet_is_left_out(live: Callable[..., LiveTerminal], tmp_path: Path) -> None:
    table = live()
    sweep = Sweep(table)
    sweep.start(), sweep.start()
    for text in ("", "{", "[]", '{"iteration": 1}'):
        (tmp_path / "0000").mkdir(exist_ok=True)
        (tmp_path / "0000" / "latest.json").write_text(text)
        table.look()
    assert drawn(table)[1].split() == ["trial", "mIoU", "r", "eta", "weight"]
    write_latest(tmp_path / "0001", point(3))
    table.look()
    assert [len(line.split()) for line in drawn(table)[1:]] == [7, 7, 9]
    # Losses and speeds go before parameters where there is little room.
    assert drawn(table, width=58)[1].split() == ["trial", "mIoU", "loss", "img/s", "r", "eta", "weight"]
    assert drawn(table, width=50)[1].split() == ["trial", "mIoU", "loss", "img/s", "r", ".."]


def test_a_trunk_is_followed(live: Callable[..., LiveTerminal], tmp_path: Path) -> None:
    table = live()
    table.follow("trunk", tmp_path / "warmups", 40)
    write_latest(tmp_path / "warmups", point(20))
    table.look()
    assert drawn(table)[2].split() == ["trunk", "#" * 15 + "." * 15, "20/40", "1.75", "12.3", "-", "-", "-"]
    table.unfollow("trunk")
    assert len(drawn(table)) == 2


def test_a_resumed_sweep_shows_what_was_finished(tmp_path: Path) -> None:
    folder = make_sweep(
        tmp_path,
        [
            (TrialState.COMPLETE, {0: [8.0, 9.0]}, ""),
            (TrialState.PRUNED, {0: [7.0]}, ""),
            (TrialState.FAIL, {0: [6.0]}, "out of memory"),
            (TrialState.RUNNING, {0: [5.0]}, ""),
        ],
        base={0: [4.0, 5.0]},
    )
    loaded, rows = SweepOnDisk.load(folder), read_parquet(folder / "results.parquet")
    assert resumed_text(rows, 5) == (
        "Resumed: of 5 trials 1 complete, 1 pruned and 1 failed, 1 interrupted, which goes on from the last "
        "checkpoint, 1 to begin"
    )
    plan = Plan.of(loaded, rows)
    assert (plan.num_trials, plan.done, plan.has_reference) == (5, 3, False)
    assert {(row.label, row.state, row.score) for row in plan.finished} == {
        ("base", "complete", "5.00"),
        ("0000", "complete", "9.00"),
        ("0001", "pruned", "7.00"),
        ("0002", "failed", "6.00"),
    }
    console = Console(file=Screen(), force_terminal=True, width=80, height=24, color_system=None)
    head, _, *lines = drawn(LiveTerminal(console, (0,), None, plan))
    assert "trials 3/5, 3 before" in head and len(lines) == 4
