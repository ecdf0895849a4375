"""One sweep that meets all mishaps in turn, in real processes: kill -9 of the driver, SIGTERM, kill -9 of a worker and
of the process of a slot, whose workers then have the places that the next ones need.

What it leaves behind in the end is what any sweep leaves behind, so that is looked at here, too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pgpc
from pgpc.config import from_dict

pytestmark = pytest.mark.timeout(1200)
STEPS = [3, 6, 9, 12]


@pytest.fixture
def sweep(interrupted_sweep: dict[str, Any]) -> dict[str, Any]:
    """The sweep that has met them."""
    return interrupted_sweep


@pytest.fixture
def study(sweep: dict[str, Any]) -> optuna.Study:
    """The sweep's study, as Optuna's own tools open it."""
    return optuna.load_study(study_name="hardy", storage=f"sqlite:///{sweep['folder'] / 'study.db'}")


def reported(output: str, trial: str) -> list[int]:
    """Iterations that a driver reported of a trial, in order, those included that it was resumed from."""
    return [int(i) for i in re.findall(rf"{trial}  (?:resumed from its checkpoint at )?iteration (\d+) of", output)]


def test_exit_codes(sweep: dict[str, Any]) -> None:
    assert sweep["codes"] == [143, 0], sweep["outputs"]


def test_a_signal_to_the_whole_group_leaves_results_that_are_up_to_date(sweep: dict[str, Any]) -> None:
    assert {"report.html", "report.md", "results.parquet"} <= sweep["fresh"]
    assert "Stopping; what runs can be resumed later" in sweep["outputs"][1] and "interrupted" in sweep["outputs"][1]


def test_what_workers_write_is_kept(sweep: dict[str, Any]) -> None:
    log = (sweep["folder"] / "trials" / "0001" / "worker-0.log").read_text()
    assert "INFO pgpc.training.loop: iteration 12/12" in log


def test_no_process_is_left(sweep: dict[str, Any]) -> None:
    assert sweep["clean"] == [True, True, True]


def test_finished_trials_are_kept(sweep: dict[str, Any]) -> None:
    first, second, third = sweep["outputs"]
    assert "base  complete" in first
    assert "base  started" not in second + third


def test_interrupted_trial_is_resumed_from_its_checkpoint(sweep: dict[str, Any]) -> None:
    first, second, third = (reported(output, "0000") for output in sweep["outputs"])
    assert "Resumed: of 2 trials none has ended, " in sweep["outputs"][1]
    assert first == [3]
    # A driver may miss what was trained while it was dying, but nothing is trained twice.
    assert second and second[0] in (3, 6), sweep["outputs"][1]
    assert third and third[0] >= second[-1], sweep["outputs"][2]
    assert third == STEPS[STEPS.index(third[0]) :]


def test_neither_a_killed_worker_nor_a_killed_slot_costs_a_trial(sweep: dict[str, Any]) -> None:
    output = sweep["outputs"][2]
    steps = reported(output, "0001")
    assert output.count("0001  resumed from its checkpoint") == 2
    # What is reported while a process is being killed may be reported again by the next.
    assert sorted(set(steps)) == STEPS and len(steps) == 6, steps


def test_resume_command_is_printed(sweep: dict[str, Any]) -> None:
    resume = [re.findall(r"^resume +(.*)", output, flags=re.MULTILINE) for output in sweep["outputs"]]
    assert len(resume[1]) == 1 and "--resume hardy --storage" in resume[1][0]
    assert not resume[2], "nothing is left to train"


def test_number_of_trials_holds(study: optuna.Study) -> None:
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_study_has_the_curve_of_every_trial(study: optuna.Study) -> None:
    for trial in study.trials:
        assert set(trial.intermediate_values) <= set(STEPS)
        assert trial.value == trial.intermediate_values[12]


def test_first_trial_is_the_presets(study: optuna.Study) -> None:
    config = pgpc.preset("streets").contrast
    assert study.trials[0].params == {
        "contrast.r": config.r,
        "contrast.eta": config.eta,
        "contrast.weight": config.weight,
        "contrast.anchors": config.anchors,
        "contrast.negatives": config.negatives,
    }


def test_parquet_has_a_row_per_trial(sweep: dict[str, Any], study: optuna.Study) -> None:
    rows = pq.read_table(sweep["folder"] / "results.parquet").to_pylist()
    assert [(r["trial"], r["kind"], r["status"], r["iterations"]) for r in rows] == [
        ("base", "reference", "complete", 12),
        ("0000", "search", "complete", 12),
        ("0001", "search", "complete", 12),
    ]
    assert [r["mIoU"] for r in rows[1:]] == [trial.value for trial in study.trials]
    assert rows[0]["contrast.r"] is None and rows[1]["contrast.r"] == 4
    assert all(r["seconds"] > 0 and r["IoU/road"] >= 0 and Path(r["directory"]).is_dir() for r in rows)


def test_best_is_the_best_complete_trial(sweep: dict[str, Any], study: optuna.Study) -> None:
    best = sweep["folder"] / "best"
    config = from_dict(json.loads((best / "config.json").read_text()))
    assert config.contrast.eta == study.best_trial.params["contrast.eta"]
    assert (best / "checkpoint.pt").stat().st_size > 0


def test_sweep_file_says_how_it_came_about(sweep: dict[str, Any]) -> None:
    stored = json.loads((sweep["folder"] / "sweep.json").read_text())
    assert len(stored["runs"]) == 3
    assert "--name hardy" in stored["runs"][0]["command"]
    assert {"python", "torch", "ray", "optuna"} <= set(stored["runs"][0]["versions"])
    assert stored["seed"] == 0 and stored["config"]["training"]["iterations"] == 12
    assert list(stored["space"]) == [f"contrast.{name}" for name in ("r", "eta", "weight", "anchors", "negatives")]


def test_events_cover_the_whole_trial(sweep: dict[str, Any]) -> None:
    events = EventAccumulator(str(sweep["folder"] / "trials" / "0000"))
    events.Reload()
    assert {event.step for event in events.Scalars("eval/mIoU")} == set(STEPS)
