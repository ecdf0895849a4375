"""What criteria would have chosen, by hand and by SciPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from sweeps.definition.selection import Selection
from sweeps.findings.selection_quality import (
    ORACLE,
    choices,
    regret_by_chance,
    selection_quality,
    write_quality,
)

TRIALS = {
    "0000": {"mIoU": 30.0, "criteria/snd": 1.0, "criteria/bnm": 0.1},
    "0001": {"mIoU": 34.0, "criteria/snd": 2.0, "criteria/bnm": 0.4},
    "0002": {"mIoU": 32.0, "criteria/snd": 3.0, "criteria/bnm": 0.3},
    "0003": {"mIoU": 20.0, "criteria/snd": 0.0, "criteria/bnm": 0.2},
}
SND, BNM = (Selection.parse(name) for name in ("snd", "bnm"))


def quality(selections: list[Selection], curves: dict | None = None, trials: dict = TRIALS, seed: int = 0) -> list:
    return selection_quality(trials, curves or {}, selections, np.random.default_rng(seed))


def test_choice_regret_and_correlations_by_hand() -> None:
    snd, bnm, oracle = quality([SND, BNM])
    assert (snd.name, snd.chosen, snd.score, snd.regret.value) == ("snd", "0002", 32.0, 2.0)
    assert (bnm.name, bnm.chosen, bnm.score, bnm.regret.value) == ("bnm", "0001", 34.0, 0.0)
    # Ranks of mIoU 2 4 3 1; of snd 2 3 4 1: d = 0 1 1 0, and one of six pairs is in opposite order.
    assert snd.trials.spearman.value == pytest.approx(1 - 6 * 2 / 60) and snd.trials.num == 4
    assert snd.trials.kendall.value == pytest.approx((5 - 1) / 6)
    assert bnm.trials.spearman.value == pytest.approx(1 - 6 * 2 / 60)
    assert (oracle.name, oracle.chosen, oracle.regret.value, oracle.trials) == (ORACLE, "0001", 0.0, None)
    assert oracle.is_oracle and not snd.is_oracle and snd.checkpoints is None
    assert regret_by_chance(TRIALS) == 34 - 29


def test_the_mean_rank_chooses_too() -> None:
    both = Selection.parse("rank:snd,bnm")  # ranks from the best: snd 3 2 1 4, bnm 4 1 2 3
    trials = {**TRIALS, "0004": {"mIoU": 90.0, "criteria/snd": 9.0}}
    found, oracle = quality([both], trials=trials)
    assert found.chosen == "0001", "of equals the first"
    assert found.trials.num == 4 and found.regret.value == 56.0, "0004 lacks a part of it, yet is the best"
    assert oracle.chosen == "0004"


@pytest.mark.slow
def test_intervals_are_those_of_resampled_trials() -> None:
    numbers = np.random.default_rng(5)
    truth = numbers.normal(30, 2, 12)
    criterion = truth + numbers.normal(0, 2, 12)
    trials = {f"{i:04d}": {"mIoU": t, "criteria/snd": c} for i, (t, c) in enumerate(zip(truth, criterion))}
    found = quality([SND], trials=trials)[0]
    rho, tau, regrets = [], [], []
    for _ in range(1500):
        drawn = numbers.integers(0, 12, 12)
        rho.append(stats.spearmanr(truth[drawn], criterion[drawn]).statistic)
        tau.append(stats.kendalltau(truth[drawn], criterion[drawn]).statistic)
        regrets.append(truth[drawn].max() - truth[drawn][criterion[drawn].argmax()])
    for estimate, reference in (
        (found.trials.spearman, rho),
        (found.trials.kendall, tau),
        (found.regret, regrets),
    ):
        low, high = np.percentile(reference, [2.5, 97.5])
        assert (estimate.interval.low, estimate.interval.high) == pytest.approx((low, high), abs=0.08)
        assert estimate.interval.holds(estimate.value)
    assert quality([SND], trials=trials)[0] == found, "the generator alone decides"
    assert quality([SND], trials=trials, seed=1)[0] != found


def test_checkpoints_of_every_trial_count_and_are_resampled_trial_by_trial() -> None:
    numbers = np.random.default_rng(1)
    curves = {
        f"{i:04d}": {
            k: {"mIoU": 10.0 * i + k + numbers.normal(), "criteria/snd": 9.0 * i + k + numbers.normal()}
            for k in (10, 20, 30)
        }
        for i in range(5)
    }
    curves["0001"][20].pop("mIoU")
    curves["0002"][20]["mIoU"] = math.nan
    curves["0003"][30].pop("criteria/snd")
    pairs = [(m["mIoU"], m["criteria/snd"]) for c in curves.values() for m in c.values() if len(m) == 2]
    pairs = [pair for pair in pairs if not math.isnan(pair[0])]
    found = quality([SND], curves)[0].checkpoints
    assert found is not None and found.num == 12 == len(pairs)
    assert found.spearman.value == pytest.approx(stats.spearmanr(*zip(*pairs)).statistic)
    assert found.kendall.value == pytest.approx(stats.kendalltau(*zip(*pairs)).statistic)
    assert found.spearman.interval is not None and found.spearman.interval.holds(found.spearman.value)


def test_resampling_whole_trials_is_less_sure_than_resampling_checkpoints_would_be() -> None:
    numbers = np.random.default_rng(2)
    # The criterion is about the trial, whose many checkpoints are all alike: there are six facts, not 240.
    curves = {
        f"{i:04d}": {
            k: {"mIoU": level + numbers.normal(0, 0.01), "criteria/snd": other + numbers.normal(0, 0.01)}
            for k in range(40)
        }
        for i, (level, other) in enumerate(numbers.normal(size=(6, 2)))
    }
    interval = quality([SND], curves)[0].checkpoints.spearman.interval
    assert interval is not None and interval.high - interval.low > 0.6


def test_what_cannot_be_judged_is_left_out() -> None:
    assert quality([]) == [] and quality([Selection.parse("entropy")]) == []
    assert quality([SND], trials={"0000": TRIALS["0000"]}) == []
    unlabeled = {label: {"criteria/snd": metrics["criteria/snd"]} for label, metrics in TRIALS.items()}
    assert quality([SND], trials=unlabeled) == []
    constant = {label: {**metrics, "criteria/snd": 1.0} for label, metrics in TRIALS.items()}
    found = quality([SND], trials=constant)[0]
    assert math.isnan(found.trials.spearman.value) and found.trials.spearman.interval is None
    two = {label: TRIALS[label] for label in ("0000", "0001")}
    assert quality([SND], trials=two)[0].trials.spearman.interval is None, "resamples of two say nothing"


def test_choices_are_the_criteria_that_all_have_and_their_mean_rank() -> None:
    assert [choice.text for choice in choices(TRIALS.values())] == ["snd", "bnm", "rank:snd,bnm"]
    late = {label: {**metrics, "criteria/ensemble": 1.0} for label, metrics in TRIALS.items()}
    assert [choice.text for choice in choices(late.values())] == ["snd", "bnm", "ensemble", "rank:snd,bnm"]
    some = [TRIALS["0000"], {"mIoU": 1.0, "criteria/snd": 2.0}]
    assert [choice.text for choice in choices(some)] == ["snd"] and choices([]) == []
    assert choices([{"mIoU": 1.0, "IoU/road": 2.0}]) == []


def test_the_file_has_a_row_for_each_choice(tmp_path: Path) -> None:
    trials = {label: {**metrics, "report/mIoU": metrics["mIoU"] - 1} for label, metrics in TRIALS.items()}
    found = quality([SND], trials=trials)
    write_quality(found, tmp_path / "selection.parquet")
    snd, oracle = pq.read_table(tmp_path / "selection.parquet").to_pylist()
    assert (snd["criterion"], snd["trial"], snd["mIoU"], snd["report/mIoU"]) == ("snd", "0002", 32.0, 31.0)
    assert snd["regret"] == 2.0 and snd["spearman_trials"] == pytest.approx(0.8) and snd["trials"] == 4
    assert snd["kendall_trials_low"] is not None and snd["spearman_checkpoints"] is None
    assert oracle["criterion"] == "oracle: by target labels" and oracle["regret"] == 0.0 and oracle["trials"] is None
