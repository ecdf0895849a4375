"""The score of a run: a metric of its own, or its mean rank among the runs of its seed."""

from __future__ import annotations

from sweeps.common.names import Kind, Status
from sweeps.definition.selection import Selection
from sweeps.results.rows import Row
from sweeps.results.scores import run_scores
from sweeps.results.summaries import best_trial, ranked, summaries


def run(trial: str, seed: int, snd: float, bnm: float, *, miou: float | None = None, status: str = "complete") -> Row:
    return Row(
        label=f"{trial}-s{seed}",
        trial=trial,
        kind=Kind.REFERENCE if trial == "base" else Kind.SEARCH,
        status=Status(status),
        outcome=Status(status),
        seed=seed,
        score=miou,
        metrics={"criteria/snd": snd, "criteria/bnm": bnm},
    )


RUNS = [
    run("base", 0, 1.0, 0.1, miou=90.0),
    run("0000", 0, 3.0, 0.2, miou=10.0),  # ranks 1 and 2 of seed 0
    run("0000", 1, 2.0, 0.9, miou=30.0),  # 2 and 1 of seed 1
    run("0001", 0, 2.0, 0.3, miou=50.0),  # 2 and 1
    run("0001", 1, 5.0, 0.1, miou=70.0),  # 1 and 2
    run("0002", 0, 9.0, 0.9, status="pruned"),
]


def test_of_a_single_metric_it_is_that_metric_also_before_the_end() -> None:
    assert run_scores(RUNS, Selection.parse("snd"))["0002-s0"] == 9.0
    assert run_scores(RUNS, Selection.parse("mIoU")) == {row.label: row.score for row in RUNS if row.score is not None}


def test_of_a_mean_rank_it_is_one_among_the_complete_runs_of_a_seed() -> None:
    scores = run_scores([*RUNS, *RUNS], Selection.parse("rank:snd,bnm"))
    assert scores == {"base-s0": -3.0, "0000-s0": -1.5, "0001-s0": -1.5, "0000-s1": -1.5, "0001-s1": -1.5}


def test_trials_are_ranked_by_it_and_mean_iou_stands_beside() -> None:
    by_snd = Selection.parse("snd")
    assert [trial.label for trial in ranked(RUNS, by_snd)] == ["0001", "0000", "base", "0002"]
    assert next(trial.label for trial in ranked(RUNS)) == "base"
    best = best_trial(RUNS, by_snd)
    assert best is not None and best.label == "0001" and best.score == 3.5 and best.miou == 60.0
    assert best.to_base == {0: 1.0}, "a difference in the criterion"
    assert best.run.seed == 0, "the lower one of two in the middle, by the criterion"
    unlabeled = [run(row.trial, row.seed, row.metrics["criteria/snd"], 0.0) for row in RUNS]
    assert all(trial.miou is None for trial in summaries(unlabeled, by_snd))
