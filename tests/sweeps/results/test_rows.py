"""Rows, table and best trial of a study made by hand."""

from __future__ import annotations

from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from sweeps.results import rows as results

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
    study.add_trial(create_trial(value=99.0, user_attrs={"warm_start": "of an earlier study#0"}))
    reference.add_trial(create_trial(value=31.0, user_attrs={"metrics": {"iteration": 100, "mIoU": 31.0}}))
    return results.collect(study, reference, results=tmp_path, seeds=[3])


def test_rows(rows: list[results.Row], tmp_path: Path) -> None:
    assert [r["trial"] for r in rows] == ["base", "0000", "0001", "0002", "0003", "0004"]
    assert [r["status"] for r in rows] == ["complete", "complete", "pruned", "complete", "failed", "interrupted"]
    assert rows[4]["error"] == "loss/source became NaN" and rows[4]["mIoU"] is None
    assert rows[1]["directory"] == str(tmp_path / "trials" / "0000") and rows[1]["seed"] == 3


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.parametrize(("alive", "expected"), [(True, "running"), (False, "interrupted")])
def test_what_has_not_ended_runs_as_long_as_its_driver(
    seeds: list[int], alive: bool, expected: str, tmp_path: Path
) -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"status": "running", "status-s0": "running"}))
    rows = results.collect(study, None, results=tmp_path, seeds=seeds, alive=alive)
    assert [(row["status"], row["outcome"]) for row in rows] == [(expected, expected)]


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


@pytest.fixture
def seeded(tmp_path: Path) -> list[results.Row]:
    """A reference and three trials with seeds 0 and 5: complete, given up after one seed, and with one that failed."""
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))

    def trial(state: TrialState, value: float | None, **runs: tuple[str, float]) -> optuna.trial.FrozenTrial:
        attrs: dict[str, object] = {}
        for seed, (status, score) in runs.items():
            attrs[f"status-{seed}"] = status
            attrs[f"metrics-{seed}"] = {"iteration": 100, "mIoU": score, "seconds": 2.0}
        return create_trial(
            state=state, value=value, params={"contrast.eta": 0.5}, distributions=SPACE, user_attrs=attrs
        )

    reference.add_trial(trial(TrialState.COMPLETE, 31.0, s0=("complete", 30.0), s5=("complete", 32.0)))
    study.add_trial(trial(TrialState.COMPLETE, 33.0, s0=("complete", 31.0), s5=("complete", 35.0)))
    study.add_trial(trial(TrialState.PRUNED, None, s0=("complete", 20.0)))
    study.add_trial(trial(TrialState.FAIL, None, s0=("complete", 60.0), s5=("failed", 1.0)))
    return results.collect(study, reference, results=tmp_path, seeds=[0, 5])


def test_with_seeds_every_run_has_a_row(seeded: list[results.Row], tmp_path: Path) -> None:
    assert [(r["trial"], r["point"], r["seed"], r["status"], r["outcome"]) for r in seeded] == [
        ("base-s0", "base", 0, "complete", "complete"), ("base-s5", "base", 5, "complete", "complete"),
        ("0000-s0", "0000", 0, "complete", "complete"), ("0000-s5", "0000", 5, "complete", "complete"),
        ("0001-s0", "0001", 0, "complete", "pruned"),
        ("0002-s0", "0002", 0, "complete", "failed"), ("0002-s5", "0002", 5, "failed", "failed"),
    ]
    assert seeded[3]["directory"] == str(tmp_path / "trials" / "0000-s5")


def test_summaries_have_means_and_paired_differences(seeded: list[results.Row]) -> None:
    base, first, second, third = results.summaries(seeded)
    assert (base["trial"], base["mIoU"], base["to_base"]) == ("base", 31.0, {})
    assert (first["trial"], first["mIoU"], first["seconds"]) == ("0000", 33.0, 4.0)
    assert first["to_base"] == {0: 1.0, 5: 3.0}
    assert [second["status"], third["status"]] == ["pruned", "failed"]


def test_best_run_is_of_the_best_complete_trial(seeded: list[results.Row]) -> None:
    assert results.best(seeded)["trial"] == "0000-s5", "not 0002, one seed of which scored more"


def test_table_has_means_over_seeds(seeded: list[results.Row]) -> None:
    lines = results.table(seeded, ["contrast.eta"], num_seeds=2).splitlines()
    assert lines[0].split()[:6] == ["rank", "trial", "status", "mIoU", "-", "base"]
    assert "33.00 ± 2.83" in lines[2] and "+2.00 ± 1.41" in lines[2] and lines[2].split()[1] == "0000"
    assert "20.00 (1 of 2)" in next(line for line in lines if "0001" in line)


def test_json_has_no_number_that_json_does_not_know() -> None:
    tree = {"a": [1.5, float("nan"), {"b": float("inf")}], 2: ("x", None)}
    assert results.without_nan(tree) == {"a": [1.5, None, {"b": None}], "2": ["x", None]}


def test_a_trial_that_somebody_else_added_has_no_metrics_and_is_not_the_best(tmp_path: Path) -> None:
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))
    reference.add_trial(create_trial(value=1.0))
    add(study, TrialState.COMPLETE, 30.0, 100)
    study.add_trial(create_trial(value=99.0, params={"contrast.eta": 0.5}, distributions=SPACE))
    rows = results.collect(study, reference, results=tmp_path, seeds=[3])
    assert [row["trial"] for row in results.ranked(rows)][:1] == ["0000"]
    assert results.best(rows)["trial"] == "0000"


@pytest.fixture
def two_objectives(tmp_path: Path) -> list[results.Row]:
    """A reference that beats all, one of an earlier study that does, and three trials: 0001 and 0003 are the front."""
    study, reference = (optuna.create_study(directions=["maximize", "minimize"]) for _ in range(2))

    def trial(*runs: tuple[float, float], **attrs: str) -> optuna.trial.FrozenTrial:
        for seed, (score, seconds) in enumerate(runs):
            attrs[f"status-s{seed}"] = "complete"
            attrs[f"metrics-s{seed}"] = {"iteration": 100, "mIoU": score, "seconds": seconds}
        means = [sum(values) / len(runs) for values in zip(*runs)]
        return create_trial(values=means, params={"contrast.eta": 0.5}, distributions=SPACE, user_attrs=attrs)

    reference.add_trial(trial((99, 1), (99, 1)))
    study.add_trial(trial((99, 1), (99, 1), warm_start="of an earlier study#0"))
    study.add_trial(trial((20, 5), (22, 7)))
    study.add_trial(trial((28, 9), (32, 91)))
    study.add_trial(trial((30, 50), (31, 30)))
    return results.collect(study, reference, results=tmp_path, seeds=[0, 1])


def test_front_comes_first_and_is_marked(two_objectives: list[results.Row]) -> None:
    assert [row["pareto"] for row in two_objectives] == [False, False, True, True, False, False, True, True]
    assert [row["trial"] for row in results.ranked(two_objectives)] == ["0003", "0001", "base", "0002"]
    names = ["mIoU", "seconds"]
    lines = [line.split() for line in results.table(two_objectives, ["contrast.eta"], 2, names).splitlines()]
    assert lines[0] == ["rank", "trial", "status", "front", "mIoU", "seconds", "-", "base", "eta", "iterations"]
    assert lines[2][:5] == ["1", "0003", "complete", "*", "30.50"] and lines[2][7] == "40.0"
    assert lines[5][:4] == ["3", "0002", "complete", "30.00"]
    front = results.front(two_objectives, SPACE, names)
    assert front[1] == {"trial": "0001", "objectives": {"mIoU": 21.0, "seconds": 6.0}, "params": {"contrast.eta": 0.5}}
    assert len(front) == 2 and results.best(two_objectives)["trial"] == "0003-s1"


def test_one_objective_has_no_front(rows: list[results.Row]) -> None:
    assert {row["pareto"] for row in rows} == {None} and results.front(rows, SPACE, ["mIoU"]) is None
