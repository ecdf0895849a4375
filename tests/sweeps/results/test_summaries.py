"""Trials out of their runs: means, ranks, the best, and what is kept of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeps.common.names import Kind, Status
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.results.rows import Row
from sweeps.results.summaries import (
    about_best,
    best_trial,
    front,
    is_unfinished,
    keep_best,
    ranked,
    representative,
    summaries,
)

NAMES = ["mIoU", "seconds"]


def test_ranked_puts_complete_trials_first_and_interrupted_ones_by_how_far_they_came(rows: list[Row]) -> None:
    assert [trial.label for trial in ranked(rows)] == ["0002", "base", "0000", "0001", "0004", "0003"]


def test_best_is_a_complete_trial_of_the_search(rows: list[Row]) -> None:
    best = best_trial(rows)
    assert best is not None and best.label == "0002"
    assert best_trial(rows[:1]) is None


def test_summaries_have_means_and_paired_differences(seeded: list[Row]) -> None:
    base, first, second, third = summaries(seeded)
    assert (base.label, base.score, base.to_base) == ("base", 31.0, {})
    assert (first.label, first.score, first.seconds) == ("0000", 33.0, 4.0)
    assert first.to_base == {0: 1.0, 5: 3.0} and first.values == {0: 31.0, 5: 35.0}
    assert first.means == {"mIoU": 33.0, "seconds": 2.0} and first.run.label == "0000-s0"
    assert first.difference is not None and first.difference.spread.mean == 2.0
    assert base.difference is None and third.difference is not None and third.difference.spread.n == 1
    assert [trial.difference.family for trial in (first, second, third) if trial.difference] == [3, 3, 3]
    assert [second.status, third.status] == ["pruned", "failed"]
    assert first.is_ranked and not base.is_ranked and not second.is_ranked
    assert third.means == {"mIoU": 60.0, "seconds": 2.0}, "of the run that is complete alone"


def test_the_error_of_a_trial_is_that_of_its_first_run_that_failed(seeded: list[Row]) -> None:
    failed = [
        dataclasses.replace(row, status=Status.FAILED, error=error)
        for row, error in zip(seeded[-2:], ("first", "second"))
    ]
    assert summaries([*seeded[:-2], *failed])[-1].error == "first"


def test_a_run_of_several_tables_counts_once(seeded: list[Row]) -> None:
    assert summaries([*seeded, *seeded]) == summaries(seeded)


def test_best_is_by_the_mean_and_not_by_a_single_seed(seeded: list[Row]) -> None:
    best = best_trial(seeded)
    assert best is not None and best.label == "0000", "not 0002, one seed of which scored more"
    assert best.run.label == "0000-s0", "of two seeds that of the lower score"


def test_a_trial_that_somebody_else_added_has_no_metrics_and_is_not_the_best(with_foreign_trial: list[Row]) -> None:
    assert [trial.label for trial in ranked(with_foreign_trial)][:1] == ["0000"]
    best = best_trial(with_foreign_trial)
    assert best is not None and best.label == "0000"


def test_front_comes_first(rows: list[Row], two_objectives: list[Row]) -> None:
    assert [trial.label for trial in ranked(two_objectives)] == ["0003", "0001", "base", "0002"]
    found = front(two_objectives, ["contrast.eta"], NAMES)
    assert found is not None and len(found) == 2
    assert found[1] == {"trial": "0001", "objectives": {"mIoU": 21.0, "seconds": 6.0}, "params": {"contrast.eta": 0.5}}
    best = best_trial(two_objectives)
    assert best is not None and best.label == "0003"
    assert front(rows, ["contrast.eta"], ["mIoU"]) is None


@pytest.mark.parametrize(
    ("options", "statuses", "expected"),
    [
        ({"trials": 2}, ["complete", "failed"], False),
        ({"trials": 3}, ["complete", "failed"], True),
        ({"trials": 2}, ["complete", "interrupted"], True),
        ({"trials": 9, "scheduler": "pbt", "population": 2}, ["complete", "pruned", "complete"], False),
        ({"trials": 9, "scheduler": "pbt", "population": 2}, ["complete", "pruned"], True),
    ],
)
def test_what_is_left_to_train(
    options: Mapping[str, object], statuses: list[str], expected: bool, tmp_path: Path
) -> None:
    sweep = new_sweep(SweepOptions(storage=str(tmp_path), name="a", **options))  # type: ignore[arg-type]
    base = Row(label="base", trial="base", kind=Kind.REFERENCE, status=Status.COMPLETE, outcome=Status.COMPLETE)
    rows = [base]
    for number, status in enumerate(statuses):
        label = f"{number:04d}"
        rows.append(Row(label=label, trial=label, kind=Kind.SEARCH, status=Status(status), outcome=Status(status)))
    assert is_unfinished(sweep, summaries(rows)) == expected
    halted = dataclasses.replace(base, status=Status.INTERRUPTED, outcome=Status.INTERRUPTED)
    assert is_unfinished(sweep, summaries([halted, *rows[1:]]))


def test_keep_best_takes_the_newest_checkpoint(rows: list[Row], tmp_path: Path) -> None:
    directory, target = tmp_path / "0000", tmp_path / "best"
    for name in ("checkpoint_2026-01-01_10-00-00.5", "checkpoint_2026-01-01_09-00-00.5"):
        (directory / name).mkdir(parents=True)
        (directory / name / "checkpoint.pt").write_text(name)
    (directory / "config.json").write_text("{}")
    trial = summaries(rows)[1]
    for _ in range(2):
        keep_best(dataclasses.replace(trial, run=dataclasses.replace(trial.run, directory=directory)), target)
    assert (target / "README.md").read_text() == f"{about_best(trial)}\n"
    assert (target / "checkpoint.pt").read_text() == "checkpoint_2026-01-01_10-00-00.5"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0000", "best"]


def test_a_best_without_checkpoint_is_said(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="The best trial has no checkpoint"):
        keep_best(summaries(rows)[1], tmp_path / "best")


def test_a_trial_is_stood_for_by_the_seed_of_median_score(rows: list[Row]) -> None:
    def of(*scores: float, status: Status = Status.COMPLETE) -> list[Row]:
        return [
            dataclasses.replace(rows[0], label=f"{status}-{i}", score=s, seed=i, status=status)
            for i, s in enumerate(scores)
        ]

    def stands(runs: list[Row]) -> Row:
        return representative(runs, {run.label: run.score for run in runs if run.score is not None})

    assert stands(of(30.0, 50.0, 40.0)).seed == 2
    assert stands(of(30.0, 50.0, 40.0, 20.0)).seed == 0, "of two in the middle the lower one"
    assert stands(of(30.0, 30.0)).seed == 0 and stands(of(30.0)).seed == 0
    half = [*of(30.0, 40.0, 90.0), *of(99.0, status=Status.FAILED)]
    assert stands(half).score == 40.0, "a run that has failed does not count"
    assert stands(of(30.0, 50.0, 40.0, status=Status.PRUNED)).seed == 1


def test_best_says_what_it_is(rows: list[Row], seeded: list[Row]) -> None:
    one, several = best_trial(rows), best_trial(seeded)
    assert one is not None and several is not None
    assert about_best(one) == "best/ is trial 0002, of the highest mIoU, 33.00 %, trained with seed 3."
    assert about_best(several) == (
        "best/ is trial 0000, of the highest mean mIoU over 2 seeds, 33.00 %; its checkpoint is that of seed 0, whose "
        "mIoU, 31.00 %, is the median, of two in the middle the lower one."
    )
