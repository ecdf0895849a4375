"""Rows, table and best trial of a study made by hand."""

from __future__ import annotations

from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from sweeps import results

SPACE = {"contrast.eta": FloatDistribution(0, 1)}


def add(study: optuna.Study, state: TrialState, value: float | None, iteration: int, **attrs: str) -> None:
    metrics = {"iteration": iteration, "mIoU": value, "seconds": 7.0, "IoU/road": 50} if iteration else {}
    study.add_trial(
        create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params={"contrast.eta": 0.5},
            distributions=SPACE,
            user_attrs={"metrics": metrics, **attrs},
        )
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[results.Row]:
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))
    add(study, TrialState.COMPLETE, 30.0, 100)
    add(study, TrialState.PRUNED, 35.0, 50)
    add(study, TrialState.COMPLETE, 33.0, 100)
    add(study, TrialState.FAIL, None, 0, error="loss/source became NaN")
    add(study, TrialState.RUNNING, 1.0, 20)
    study.enqueue_trial({"contrast.eta": 0.1})
    reference.add_trial(create_trial(value=31.0, user_attrs={"metrics": {"iteration": 100, "mIoU": 31.0}}))
    return results.collect(study, reference, results=tmp_path, seed=3)


def test_rows(rows: list[results.Row], tmp_path: Path) -> None:
    assert [r["trial"] for r in rows] == ["base", "0000", "0001", "0002", "0003", "0004"]
    assert [r["status"] for r in rows] == ["complete", "complete", "pruned", "complete", "failed", "interrupted"]
    assert rows[4]["error"] == "loss/source became NaN" and rows[4]["mIoU"] is None
    assert rows[1]["directory"] == str(tmp_path / "trials" / "0000") and rows[1]["seed"] == 3


def test_ranked_puts_complete_trials_first_and_interrupted_ones_by_how_far_they_came(rows: list[results.Row]) -> None:
    assert [r["trial"] for r in results.ranked(rows)] == ["0002", "base", "0000", "0001", "0004", "0003"]


def test_best_is_a_complete_trial_of_the_search(rows: list[results.Row]) -> None:
    assert results.best(rows)["trial"] == "0002"
    assert results.best(rows[:1]) is None


def test_table_ranks_only_what_was_searched_to_the_end(rows: list[results.Row]) -> None:
    lines = [line.split() for line in results.table(rows, ["contrast.eta"]).splitlines()]
    assert lines[0] == ["rank", "trial", "status", "mIoU", "eta", "iterations", "seconds"]
    assert lines[2] == ["1", "0002", "complete", "33.00", "0.5", "100", "7"]
    assert lines[3] == ["-", "base", "complete", "31.00", "-", "100", "-"]
    assert [line[0] for line in lines[2:]] == ["1", "-", "2", "-", "-", "-"]


def test_parquet_reads_back(rows: list[results.Row], tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    results.write_parquet(rows, path)
    results.write_parquet(rows, path)
    back = pq.read_table(path).to_pylist()
    assert [r["mIoU"] for r in back] == [31.0, 30.0, 35.0, 33.0, None, 1.0]
    assert back[0]["contrast.eta"] is None and back[1]["IoU/road"] == 50.0
    assert [p.name for p in tmp_path.iterdir()] == ["results.parquet"]


def test_keep_best_takes_the_newest_checkpoint(tmp_path: Path) -> None:
    directory, target = tmp_path / "0000", tmp_path / "best"
    for name in ("checkpoint_2026-01-01_10-00-00.5", "checkpoint_2026-01-01_09-00-00.5"):
        (directory / name).mkdir(parents=True)
        (directory / name / "checkpoint.pt").write_text(name)
    (directory / "config.json").write_text("{}")
    for _ in range(2):
        results.keep_best({"directory": str(directory)}, target)
    assert (target / "checkpoint.pt").read_text() == "checkpoint_2026-01-01_10-00-00.5"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0000", "best"]


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        results.keep_best({"directory": str(tmp_path)}, tmp_path / "best")
