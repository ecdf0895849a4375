"""What the evidence for a choice without labels is made of: its space, its rule, and what it prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from sweeps import arguments
from sweeps.common.names import Kind, Status
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.selection import Selection
from sweeps.definition.space import is_active
from sweeps.definition.sweep import Sweep
from sweeps.findings.selection_quality import mean_regret
from sweeps.results.rows import Row, write_parquet
from tests.benchmarks.selection_evidence import (
    RANGES,
    SETTINGS,
    SINGLE,
    Judged,
    default,
    evidence,
    judge,
)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    asked = {"preset": "streets", "set": SETTINGS, "range": RANGES, "search": "random", "scheduler": "none"}
    given = arguments.read(None, {**asked, "storage": tmp_path, "name": "a"})
    return new_sweep(SweepOptions.from_given(given))


def test_every_point_of_the_space_can_be_trained_and_the_presets_own_is_the_first(sweep: Sweep) -> None:
    assert [set(params) for params in sweep.known] == [set(RANGES)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [study.ask(sweep.space).params for _ in range(60)]
    kept = [{k: v for k, v in params.items() if is_active(k, params, sweep.when)} for params in drawn]
    assert {len(params) for params in kept} == {len(RANGES), len(RANGES) - 5}
    for params in kept:
        config = sweep.trial_config(params, 0)
        assert config.adaptation.enabled and config.training.iterations == 280
    assert sweep.config.evaluation.criteria_images == sweep.config.data.holdout == 24


def judged(**candidates: tuple[float, float]) -> list[Judged]:
    return [Judged(name=name, regret=regret, spearman=rho) for name, (regret, rho) in candidates.items()]


def test_the_rule_takes_the_lowest_regret_and_of_near_ones_the_highest_correlation() -> None:
    assert default(judged(a=(1.0, 0.9), b=(0.5, 0.1))).name == "b"
    assert default(judged(a=(0.59, 0.9), b=(0.5, 0.1), c=(0.61, 1.0))).name == "a"
    assert default(judged(a=(0.5, float("nan")), b=(0.55, -0.2))).name == "b"
    assert default(judged(a=(0.5, 0.3), b=(0.5, 0.3))).name == "a"


def test_the_mean_regret_is_that_of_resamples_drawn_one_by_one() -> None:
    truth, criterion = np.array([30.0, 34.0, 32.0, 20.0]), np.array([1.0, 2.0, 3.0, 0.0])
    trials = {f"{i:04d}": {"mIoU": t, "criteria/snd": c} for i, (t, c) in enumerate(zip(truth, criterion))}
    found = mean_regret(Selection.parse("snd"), trials, np.random.default_rng(0))
    numbers = np.random.default_rng(1)
    drawn = [numbers.integers(0, 4, 4) for _ in range(20_000)]
    expected = np.mean([truth[rows].max() - truth[rows][criterion[rows].argmax()] for rows in drawn])
    assert found == pytest.approx(expected, abs=0.1)
    # It is 2 where both 0001 and 0002 are drawn, and else 0.
    assert expected == pytest.approx(2 * (1 - 2 * 0.75**4 + 0.5**4), abs=0.05)


def test_candidates_are_judged_where_all_trials_have_them() -> None:
    trials = {f"{i:04d}": {"mIoU": float(i), "criteria/snd": float(i), "criteria/bnm": -float(i)} for i in range(5)}
    snd, bnm = judge(trials)
    assert (snd.name, snd.regret, snd.spearman) == ("snd", 0.0, pytest.approx(1))
    assert bnm.name == "bnm" and bnm.regret > 2 and bnm.spearman == pytest.approx(-1)


def test_what_is_printed(sweep: Sweep) -> None:
    sweep.folder.mkdir(parents=True)
    sweep.save()
    assert evidence(sweep.folder).startswith("0 complete trials cannot show")
    numbers = np.random.default_rng(0)
    rows = [
        Row(
            label=f"{i:04d}",
            trial=f"{i:04d}",
            kind=Kind.SEARCH,
            status=Status.COMPLETE,
            outcome=Status.COMPLETE,
            score=float(20 + i),
            iterations=280,
            # All but infomax are noise.
            metrics={
                f"criteria/{name}": i if name == "infomax" else numbers.normal() for name in (*SINGLE, "ensemble")
            },
        )
        for i in range(12)
    ]
    write_parquet(rows, sweep.folder / "results.parquet")
    text = evidence(sweep.folder)
    assert text.startswith("12 complete trials, mIoU from 20.00 to 31.00 %, median 25.50 %.")
    assert "| infomax | 0011 | 31.00 | 0.00 [0.00, 0.00] |" in text and "| ensemble |" in text
    assert text.endswith("By the rule the default is infomax, in place of bnm.")
    assert len([line for line in text.splitlines() if line.startswith("rank:")]) == 4
