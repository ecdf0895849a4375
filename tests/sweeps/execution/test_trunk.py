"""Warm-ups of sweeps: first without Ray, then in sweeps as a user starts them, one of them killed in the middle."""

from __future__ import annotations

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
from pgpc.training import trunk as warm_up
from sweeps.definition import options as flags
from sweeps.definition.space import search_space
from sweeps.definition.sweep import Sweep
from sweeps.execution.trial import FAILED, Workers, forked, note_fork
from sweeps.execution.trunk import WarmUps, provide, refusal, summary

pytestmark = pytest.mark.timeout(900)

WORKERS = Workers(count=1, cpus=1, gpus=0)
START = ["--set", "contrast.start=6"]
"""The warm-up is 4 iterations long."""


@pytest.fixture
def sweep(tiny: list[str], tmp_path: Path) -> Sweep:
    """A sweep of two trials that has not begun."""
    config = pgpc.override(pgpc.preset("streets"), {**parse_settings(tiny[1::2]), "contrast.start": 6})
    chosen = {**flags.DEFAULTS, "trials": 2, "workers": 1}
    return Sweep(folder=tmp_path / "mine", flags=chosen, config=config, space=search_space(config), runs=[])


def in_this_process(searcher: Searcher) -> None:
    """Does with a searcher's trials what Ray Tune and Train do, one after the other."""
    number = 0
    while (spec := searcher.suggest(str(number))) != Searcher.FINISHED:
        directory, trial_id = Path(spec["directory"]), str(number)

        def on_report(metrics: dict[str, float], folder: Path, trial_id=trial_id, directory=directory) -> None:
            kept = directory / f"checkpoint_{int(metrics['iteration']):03d}"
            kept.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint.pt").rename(kept / "checkpoint.pt")
            searcher.report(trial_id, metrics)

        config = from_dict(json.loads(spec["config"]))
        try:
            pgpc.train(config, out=directory, until=spec["until"], on_report=on_report)
            searcher.on_trial_complete(trial_id, {})
        except pgpc.NonFiniteLoss as error:
            searcher.on_trial_complete(trial_id, {FAILED: str(error)})
        number += 1


def give(sweep: Sweep, execute: Callable[[Searcher], None] = in_this_process, stopped: bool = False) -> list[str]:
    """What is said while the sweep is provided with its warm-ups."""
    said: list[str] = []
    warm_ups = WarmUps(sweep.folder.parent / "warmups", WORKERS)
    provide(warm_ups, sweep, execute=execute, stopped=lambda: stopped, say=said.append)
    return said


def unwanted(searcher: Searcher) -> None:
    raise AssertionError("nothing is to be trained")


def test_trained_once_and_found_by_every_trial_of_this_and_other_sweeps(sweep: Sweep, tmp_path: Path) -> None:
    warm_ups = WarmUps(tmp_path / "warmups", WORKERS)
    assert warm_ups.find(sweep.config) is None
    said = give(sweep)
    assert [line.partition("  mIoU")[0] for line in said] == [
        "warmup  started   the 4 iterations before the contrast, once for all trials",
        "warmup  iteration 3/4",
        "warmup  iteration 4/4",
        "warmup  complete",
    ]
    found = {
        warm_ups.find(sweep.trial_config(params, 0)) for params in ({}, {"contrast.r": 2}, {"contrast.negatives": 7})
    }
    assert len(found) == 1 and warm_up.read_record(Path(*found)).iterations == 4
    assert sorted(path.suffix for path in (tmp_path / "warmups").iterdir()) == ["", ".lock"]
    assert warm_ups.find(sweep.trial_config({"adaptation.target_weight": 0.5}, 0)) is None
    assert warm_ups.find(sweep.trial_config({}, 1)) is None

    assert give(sweep, unwanted) == []
    for directory, counted in ((sweep.folder, "8 iterations, "), (tmp_path / "other", "12 iterations, ")):
        for label in ("base", "0000", "0001"):
            note_fork(directory / "trials" / label, Path(*found))
        line = summary(warm_ups, directory)
        assert line is not None and f"saved {counted}" in line, line
        assert ("trained once in" in line) == (directory == sweep.folder)
    assert forked(sweep.folder / "trials" / "base")["warm_up_iterations"] == 4
    assert forked(tmp_path)["warm_up_iterations"] == 0 and summary(warm_ups, tmp_path) is None


def test_refused_where_a_searched_parameter_plays_a_part_before(sweep: Sweep) -> None:
    keys = ["contrast.eta", "adaptation.target_weight"]
    assert refusal(sweep.config, keys) == (
        "no warm-up: adaptation.target_weight plays a part before the contrast starts, and is searched"
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


def test_a_warm_up_that_fails_is_left_to_the_trials(sweep: Sweep, tmp_path: Path) -> None:
    object.__setattr__(sweep, "config", pgpc.override(sweep.config, {"optimizer.lr": 1e30}))
    said = give(sweep)
    assert "FAILED" in said[-1] and "became infinite or NaN" in said[-1]
    assert [path.suffix for path in (tmp_path / "warmups").iterdir()] == [".lock"]


def test_two_sweeps_at_the_same_time_train_one(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm_ups = WarmUps(tmp_path / "warmups", WORKERS)
    address = warm_ups.address(sweep.config)
    (tmp_path / "warmups").mkdir()
    with (tmp_path / "warmups" / f"{address}.lock").open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "warmups" / str(address)).mkdir())  # they are done
        assert give(sweep, unwanted) == ["warmup  another sweep is training it; waiting"]


@pytest.fixture
def swept(warmed_sweep: dict[str, Any]) -> dict[str, Any]:
    """A sweep whose driver is killed during the warm-up and which is resumed; and what both drivers said."""
    return warmed_sweep


def test_killed_during_the_warm_up_goes_on_with_it(swept: dict[str, Any]) -> None:
    killed, resumed = swept["outputs"]
    assert "base  started" not in killed
    assert "warmup  started" in resumed and "warmup  complete" in resumed
    record = warm_up.read_record(next(p for p in (swept["storage"] / "warmups").iterdir() if p.is_dir()))
    assert [report["iteration"] for report in record.reports] == [3]


def test_what_it_saved_is_said(swept: dict[str, Any]) -> None:
    assert "warm-up: 4 iterations trained once in" in swept["outputs"][1]
    assert "saved 4 iterations" in swept["outputs"][1]


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
