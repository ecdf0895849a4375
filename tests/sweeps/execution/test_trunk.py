"""Trunks of sweeps: first without Ray, then in sweeps as a user starts them, one of them killed in the middle."""

from __future__ import annotations

import errno
import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from ray.tune.search import Searcher

import pgpc
from pgpc.config import from_dict, parse_settings
from pgpc.training import Callbacks, trunk
from sweeps.definition.options import SweepOptions
from sweeps.definition.space import search_space
from sweeps.definition.sweep import Sweep
from sweeps.execution.storage_faults import RunSearcher
from sweeps.execution.trunk import TrunkStore, provide_trunks, refusal, summary
from sweeps.results.forks import TrunkFork, read_fork, write_fork
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers

pytestmark = pytest.mark.timeout(900)

WORKERS = Workers(count=1, cpus=1, gpus=0)


@pytest.fixture
def sweep(tiny: list[str], tmp_path: Path) -> Sweep:
    """A sweep of two trials that has not begun."""
    config = pgpc.override(pgpc.preset("streets"), {**parse_settings(tiny[1::2]), "contrast.start": 6})
    # The trunk is 4 iterations long.
    options = SweepOptions(trials=2, workers=1)
    return Sweep(folder=tmp_path / "mine", options=options, config=config, space=search_space(config))


def in_this_process(searcher: RunSearcher) -> None:
    """Does with a searcher's trials what Ray Tune and Train do, one after the other."""
    number = 0
    while isinstance(plain := searcher.suggest(str(number)), dict):
        spec, trial_id = TrialSpec.from_plain(plain), str(number)

        def on_report(metrics: dict[str, float], folder: Path, trial_id=trial_id, directory=spec.directory) -> None:
            kept = directory / f"checkpoint_{int(metrics['iteration']):03d}"
            kept.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint.pt").rename(kept / "checkpoint.pt")
            searcher.report(trial_id, metrics)

        try:
            pgpc.train(spec.config, out=spec.directory, until=spec.until, callbacks=Callbacks(on_report=on_report))
            searcher.on_trial_complete(trial_id, {})
        except pgpc.NonFiniteLoss as error:
            searcher.on_trial_complete(trial_id, {FAILURE: str(error)})
        number += 1
    assert plain == Searcher.FINISHED


def give(sweep: Sweep, execute: Callable[[RunSearcher], None] = in_this_process, stopped: bool = False) -> list[str]:
    """What is said while the sweep is provided with its trunks."""
    screen = Screen()
    provide_trunks(
        TrunkStore.beside(sweep.folder, WORKERS), sweep, execute=execute, stopped=lambda: stopped, screen=screen
    )
    assert not screen.followed, "all that was begun has ended"
    return screen.said


class Screen:
    """Keeps what is said, and whom it follows."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.followed: dict[str, tuple[Path, int]] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    def follow(self, label: str, directory: Path, iterations: int) -> None:
        self.followed[label] = directory, iterations

    def unfollow(self, label: str) -> None:
        del self.followed[label]


def unwanted(searcher: RunSearcher) -> None:
    raise AssertionError("nothing is to be trained")


@pytest.mark.slow
def test_trained_once_and_found_by_every_trial_of_this_and_other_sweeps(sweep: Sweep, tmp_path: Path) -> None:
    store = TrunkStore(tmp_path / "warmups", WORKERS)
    assert store.find(sweep.config) is None
    said = give(sweep)
    assert [line.partition(", mIoU")[0] for line in said] == [
        "trunk  started: the 4 iterations before the contrast, trained once and shared by all trials",
        "trunk  iteration 3 of 4",
        "trunk  iteration 4 of 4",
        "trunk  complete",
    ]
    found = {store.find(sweep.trial_config(params, 0)) for params in ({}, {"contrast.r": 2}, {"contrast.negatives": 7})}
    assert len(found) == 1 and trunk.read_record(Path(*found)).iterations == 4
    assert sorted(path.suffix for path in (tmp_path / "warmups").iterdir()) == ["", ".lock"]
    assert store.find(sweep.trial_config({"adaptation.target_weight": 0.5}, 0)) is None
    assert store.find(sweep.trial_config({}, 1)) is None

    assert give(sweep, unwanted) == []
    fork = TrunkFork(trunk=Path(*found).name, iterations=4, seconds=1.0)
    for directory, counted in ((sweep.folder, "8 iterations and"), (tmp_path / "other", "12 iterations and")):
        for label in ("base", "0000", "0001"):
            write_fork(directory / "trials" / label, fork)
        line = summary(store, directory)
        assert line is not None and f"saved {counted}" in line, line
        assert ("the first 4 iterations, before the contrast, were trained once" in line) == (directory == sweep.folder)
    assert read_fork(sweep.folder / "trials" / "base") == fork
    assert read_fork(tmp_path) is None and summary(store, tmp_path) is None


def test_refused_where_a_searched_parameter_plays_a_part_before(sweep: Sweep) -> None:
    keys = ["contrast.eta", "adaptation.target_weight"]
    assert refusal(sweep.config, keys) == (
        "Every trial is trained from the start, without a shared trunk: adaptation.target_weight is searched and plays "
        "a part before the contrast starts."
    )
    assert refusal(sweep.config, list(sweep.space)) is None
    at_once = pgpc.override(sweep.config, {"contrast.start": 2})
    assert "from the first iteration on" in str(refusal(at_once, ["contrast.eta"]))


def test_nothing_is_trained_for_a_single_run(sweep: Sweep) -> None:
    for label in ("base", "0000"):
        directory = sweep.folder / "trials" / label
        directory.mkdir(parents=True)
        (directory / "config.json").touch()
    assert give(sweep, unwanted) == []


def test_nothing_is_trained_after_a_stop(sweep: Sweep) -> None:
    assert give(sweep, unwanted, stopped=True) == []


@pytest.mark.slow
def test_a_trunk_that_fails_is_left_to_the_trials(sweep: Sweep, tmp_path: Path) -> None:
    object.__setattr__(sweep, "config", pgpc.override(sweep.config, {"optimizer.lr": 1e30}))
    said = give(sweep)
    assert "FAILED" in said[-1] and "became infinite or NaN" in said[-1]
    assert [path.suffix for path in (tmp_path / "warmups").iterdir()] == [".lock"]


def test_two_sweeps_at_the_same_time_train_one(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrunkStore(tmp_path / "warmups", WORKERS)
    address = str(store.address(sweep.config))

    def finish(_: float) -> None:
        (tmp_path / "warmups" / address).mkdir()
        for name in ("checkpoint.pt", trunk.FILE):
            (tmp_path / "warmups" / address / name).touch()

    (tmp_path / "warmups").mkdir()
    with (tmp_path / "warmups" / f"{address}.lock").open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        monkeypatch.setattr("time.sleep", finish)
        assert give(sweep, unwanted) == ["trunk  another sweep is training the shared trunk; waiting for it"]


def test_a_trunk_that_appears_before_the_lock_is_had_is_not_trained_again(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = TrunkStore.lock

    def late(store: TrunkStore, address: str) -> Any:
        held = lock(store, address)
        (store.folder / address).mkdir()
        for name in ("checkpoint.pt", trunk.FILE):
            (store.folder / address / name).touch()
        return held

    monkeypatch.setattr(TrunkStore, "lock", late)
    assert give(sweep, unwanted) == []


def test_what_a_killed_driver_was_publishing_is_removed_unless_another_is_at_it(sweep: Sweep, tmp_path: Path) -> None:
    store = TrunkStore(tmp_path / "warmups", WORKERS)
    for name in ("a-new", "b-new", "a-partial"):
        (tmp_path / "warmups" / name).mkdir(parents=True)
    with (tmp_path / "warmups" / "b.lock").open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        store.remove_unfinished()
    assert {path.name for path in (tmp_path / "warmups").iterdir() if path.is_dir()} == {"b-new", "a-partial"}


def test_a_trunk_whose_copy_was_cut_short_is_none(sweep: Sweep, tmp_path: Path) -> None:
    store = TrunkStore(tmp_path / "warmups", WORKERS)
    address = str(store.address(sweep.config))
    (store.folder / address).mkdir(parents=True)
    (store.folder / address / "checkpoint.pt").touch()
    assert store.find(sweep.config) is None and address in store.missing([sweep.config, sweep.config])
    for name in ("checkpoint_000", "checkpoint_001"):
        (store.partial(address) / name).mkdir(parents=True)
        (store.partial(address) / name / "checkpoint.pt").write_text(name)
    (store.partial(address) / trunk.FILE).touch()
    store.publish(address, sweep.folder)
    assert store.find(sweep.config) == store.folder / address, "the whole one takes its place"
    assert (store.folder / address / "checkpoint.pt").read_text() == "checkpoint_001", "as it was at its end"


def test_a_file_system_without_locks_is_no_other_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    store = TrunkStore(tmp_path / "warmups", WORKERS)
    held = store.lock("a")
    assert held is not None
    with held:
        pass


@pytest.fixture
def swept(trunk_sweep: dict[str, Any]) -> dict[str, Any]:
    """A sweep whose driver is killed while it trains the trunk and which is resumed; and what both drivers said."""
    return trunk_sweep


def test_killed_while_it_trains_the_trunk_it_goes_on_with_it(swept: dict[str, Any]) -> None:
    killed, resumed = swept["outputs"]
    assert "base  started" not in killed
    assert "trunk  started" in resumed and "trunk  complete" in resumed
    record = trunk.read_record(next(p for p in (swept["storage"] / "warmups").iterdir() if p.is_dir()))
    assert [report["iteration"] for report in record.reports] == [3]


def test_what_it_saved_is_said(swept: dict[str, Any]) -> None:
    said = swept["outputs"][1]
    assert "Shared trunk: the first 4 iterations, before the contrast, were trained once, in 0:" in said
    assert "which saved 4 iterations and 0:" in said


@pytest.mark.parametrize("trial", ["base", "0000"])
def test_trials_equal_those_trained_alone(swept: dict[str, Any], tmp_path: Path, trial: str) -> None:
    folder = swept["storage"] / "first"
    row = next(r for r in pq.read_table(folder / "results.parquet").to_pylist() if r["trial"] == trial)
    assert (row["status"], row["iterations"], row["warm_up_iterations"]) == ("complete", 12, 4)
    assert 0 < row["warm_up_seconds"] < row["seconds"]
    config = from_dict(json.loads((folder / "trials" / trial / "config.json").read_text()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    alone = pgpc.train(config, out=tmp_path).metrics
    torch.set_num_threads(threads)
    scores = {key: value for key, value in alone.items() if key.startswith(("mIoU", "IoU/", "loss/"))}
    assert {key: row[key] for key in scores} == pytest.approx(scores, rel=1e-6, nan_ok=True)
