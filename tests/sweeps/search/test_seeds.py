"""A search with two seeds in real processes, whose driver is killed in the middle of a trial's second seed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


@pytest.fixture(scope="module")
def sweep(start: Callable[..., Any], tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two drivers, the second of which adds a point and answers in JSON."""
    storage = tmp_path_factory.mktemp("storage")
    seeds = ["--seeds", "3,1", "--workers", 1, "--scheduler", "none"]
    first = start("--storage", storage, "--name", "twice", "--trials", 1, *seeds, *tiny)
    first.wait_for("0000-s1  iteration 3/", timeout=400)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert first.leaves_nothing()
    second = start(
        "--storage", storage, "--resume", "twice", "--trials", 2, "--enqueue", "contrast.eta=0.3,contrast.r=5", "--json"
    )
    assert second.wait(400) == 0, second.output
    document = json.loads(re.search(r"^\{.*^\}", second.output, flags=re.DOTALL | re.MULTILINE)[0])
    return {"folder": storage / "twice", "first": first.output, "second": second.output, "document": document}


def test_seeds_are_run_one_after_the_other(sweep: dict[str, Any]) -> None:
    said = sweep["first"]
    assert said.index("0000-s3  complete") < said.index("0000-s1  started")


def test_interrupted_seed_goes_on_and_finished_ones_are_kept(sweep: dict[str, Any]) -> None:
    rows = sweep["document"]["rows"]
    assert [(r["trial"], r["status"], r["iterations"]) for r in rows[:4]] == [
        (f"{point}-s{seed}", "complete", 12) for point in ("base", "0000") for seed in (3, 1)
    ]
    # Where the second driver has gone on, it has begun an event file of its own.
    trials = sweep["folder"] / "trials"
    events = {label: len(list((trials / label).glob("events.out.tfevents.*"))) for label in ("0000-s3", "0000-s1")}
    assert events["0000-s1"] == events["0000-s3"] + 1, events


def test_complete_trials_have_the_mean_of_their_seeds_and_the_others_could_not_catch_up(sweep: dict[str, Any]) -> None:
    scores = {r["trial"]: r["mIoU"] for r in sweep["document"]["rows"]}
    study = optuna.load_study(study_name="twice", storage=f"sqlite:///{sweep['folder'] / 'study.db'}")
    first, second = study.trials
    assert first.state == TrialState.COMPLETE
    assert first.value == pytest.approx((scores["0000-s3"] + scores["0000-s1"]) / 2)
    assert first.intermediate_values[24] == first.value
    spread = max(abs(scores[f"{point}-s3"] - scores[f"{point}-s1"]) for point in ("base", "0000"))
    goes_on = scores["0001-s3"] + spread / 2 >= first.value
    assert second.state == (TrialState.COMPLETE if goes_on else TrialState.PRUNED)
    assert ("0001-s1" in scores) == goes_on


def test_enqueued_point_is_the_next_trial(sweep: dict[str, Any]) -> None:
    study = optuna.load_study(study_name="twice", storage=f"sqlite:///{sweep['folder'] / 'study.db'}")
    assert (study.trials[1].params["contrast.eta"], study.trials[1].params["contrast.r"]) == (0.3, 5)


def test_json_is_all_that_is_said(sweep: dict[str, Any]) -> None:
    document = sweep["document"]
    assert "iteration" not in sweep["second"].partition("{")[0]
    assert set(document) == {"sweep", "best", "pareto", "rows", "tables", "cost", "places"}
    assert document["best"]["trial"].startswith(("0000-s", "0001-s"))
    assert Path(document["places"]["best"]).is_file()
    stored = pq.read_table(document["places"]["rows"]).to_pylist()
    assert [r["mIoU"] for r in stored] == [r["mIoU"] for r in document["rows"]]
