"""What a report says that a sweep has shown, and how often it would be wrong where nothing has an effect."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pytest

from sweeps.common.names import Kind, Status
from sweeps.findings.confirmation import Confirmation, confirmation
from sweeps.reporting.headline import Finding, headline
from sweeps.results.rows import Row

NOISE = 0.7
"""Standard deviation between seeds, in points."""

FIVE = Finding(
    is_search=True,
    num_started=5,
    num_tried=5,
    num_complete=5,
    num_seeds=1,
    best="0001",
    score="33.46 %",
    score_name="mIoU",
    by_labels=True,
    on_labels=False,
    miou=None,
    report_score=None,
    confirmation=None,
    confirm_command="python sweeps/run_ablation.py --resume a --confirm 3 --seeds 1,2,3",
)


def confirmed(scores: Mapping[str, Mapping[int, float]]) -> Confirmation:
    """The confirmation with these scores by label and seed, of three seeds."""
    rows = [
        Row(
            label=f"{label}-s{seed}",
            trial=label,
            kind=Kind.REFERENCE if label == "base" else Kind.SEARCH,
            status=Status.COMPLETE,
            outcome=Status.COMPLETE,
            score=score,
            seed=seed,
        )
        for label, values in scores.items()
        for seed, score in values.items()
    ]
    return confirmation(rows, list(scores), (3, 4, 5), "python again")


def scores(*of_trials: list[float]) -> dict[str, dict[int, float]]:
    names = ["base", *(f"{i:04d}" for i in range(1, len(of_trials)))]
    return {name: dict(zip((3, 4, 5), values, strict=False)) for name, values in zip(names, of_trials, strict=True)}


def test_labels_of_the_target_that_are_trained_on_are_said_whatever_chooses() -> None:
    said = "All were trained with the labels of the few target images that data.target_labels names."
    for by_labels in (False, True):
        found = dataclasses.replace(FIVE, by_labels=by_labels)
        assert said not in headline(found).text
        assert f". {said} " in headline(dataclasses.replace(found, on_labels=True)).text


def test_without_a_confirmation_nothing_is_claimed() -> None:
    found = headline(FIVE)
    assert found.text == (
        "5 trials, 1 seed: 0001 has the highest mIoU, 33.46 %. The choice of the best of 5 is optimistic: of so many "
        "equal trials the best lies by chance alone 1.2 standard deviations of the runs with one set of parameters "
        "above the rest, so that no effect is claimed. Confirm it with fresh seeds: python sweeps/run_ablation.py "
        "--resume a --confirm 3 --seeds 1,2,3"
    )
    assert not found.claims_effect
    many = headline(dataclasses.replace(FIVE, num_tried=40, num_complete=7, num_seeds=3, report_score=32.0)).text
    assert many.startswith(
        "40 trials, 33 of them stopped early, 3 seeds each: 0001 has the highest mean mIoU, 33.46 %, and 32.00 % on "
        "the labeled images that took no part in the choice."
    )
    assert "2.2 standard deviations of such means" in many
    assert "optimistic" not in headline(dataclasses.replace(FIVE, num_tried=1, num_complete=1)).text
    assert "Confirm" not in headline(dataclasses.replace(FIVE, confirm_command="")).text


def test_a_confirmation_that_excludes_zero_is_a_claim() -> None:
    found = headline(
        dataclasses.replace(FIVE, confirmation=confirmed(scores([30, 31, 32], [33.0, 34.1, 34.9], [30, 32, 31])))
    )
    assert found.claims == ("0001",)
    assert found.text.startswith(
        "Of the trials trained anew with the fresh seeds 3, 4 and 5, which took no part in the choice, trial 0001 lies "
        "3.00 points above the base, the same training without contrast (mIoU) (95 % interval +2.64 to +3.36, n = 3), "
        "adjusted by Holm's procedure for 2 comparisons. 5 trials, 1 seed: "
    )
    worse = headline(dataclasses.replace(FIVE, confirmation=confirmed(scores([30, 31, 32], [27.0, 28.1, 28.9]))))
    assert worse.claims == ("0001",) and "trial 0001 lies 3.00 points below the base" in worse.text
    assert "Holm" not in worse.text


def test_a_confirmation_that_holds_zero_is_none() -> None:
    found = headline(
        dataclasses.replace(FIVE, confirmation=confirmed(scores([30, 31, 32], [31, 31, 33], [30, 32, 31])))
    )
    assert not found.claims_effect
    assert found.text.startswith("No effect was confirmed: none of the 2 trials trained anew with the fresh seeds 3, 4")
    assert "The first in the choice: trial 0001 lies 0.67 points above it (95 % interval " in found.text


def test_a_confirmation_that_runs_claims_nothing_however_large_the_difference() -> None:
    clear = scores([30, 31], [93.0, 94.1])
    found = headline(dataclasses.replace(FIVE, confirmation=confirmed(clear)))
    assert not found.claims_effect and "has not come to its end" in found.text and "python again" in found.text
    one_seed = scores([30, 31, 32], [93.0])
    failed = dataclasses.replace(confirmed(one_seed), is_complete=True)
    found = headline(dataclasses.replace(FIVE, confirmation=failed))
    assert not found.claims_effect and "trial 0001 has no interval (n = 1)" in found.text


def test_tables_of_the_paper_and_sweeps_that_have_not_come_so_far() -> None:
    table = headline(dataclasses.replace(FIVE, is_search=False, confirm_command=""))
    assert table.text.startswith("5 configs, 1 seed: 0001 has") and not table.claims_effect
    assert headline(dataclasses.replace(FIVE, best=None)).text == "No trial of the search is complete yet."
    assert headline(dataclasses.replace(FIVE, best=None, num_started=0)).text == "No trial has been started yet."


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_no_headline_without_confirmation_says_better(num_seeds: int) -> None:
    assert not re.search(r"\bbetter|against the base", headline(dataclasses.replace(FIVE, num_seeds=num_seeds)).text)


@pytest.mark.slow
def test_sweeps_without_an_effect_claim_one_in_at_most_5_percent() -> None:
    """2000 sweeps of 40 equal trials, the best 3 of which are confirmed with 3 fresh seeds; and 2000 of 5 trials."""
    numbers = np.random.default_rng(0)
    num_sweeps, false_claims = 2000, 0
    naive = {5: 0, 40: 0}
    for _ in range(num_sweeps):
        for num_trials in naive:
            best, base = numbers.normal(30, NOISE, num_trials).max(), numbers.normal(30, NOISE)
            naive[num_trials] += best - base > 1
            alone = dataclasses.replace(FIVE, num_tried=num_trials, num_complete=num_trials, score=float(best))
            assert not headline(alone).claims_effect
        fresh = scores(*numbers.normal(30, NOISE, (4, 3)).tolist())
        false_claims += headline(dataclasses.replace(FIVE, confirmation=confirmed(fresh))).claims_effect
    assert false_claims / num_sweeps <= 0.05
    assert false_claims / num_sweeps > 0.01, "it does claim something, where chance will have it so"
    assert naive[5] / num_sweeps == pytest.approx(0.41, abs=0.03)
    assert naive[40] / num_sweeps == pytest.approx(0.74, abs=0.03)


def test_an_effect_is_found() -> None:
    numbers = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        drawn = numbers.normal(30, NOISE, (4, 5)) + np.array([[0.0], [4.0], [4.0], [4.0]])
        names = ("base", "0001", "0002", "0003")
        fresh = {name: dict(enumerate(values)) for name, values in zip(names, drawn.tolist(), strict=True)}
        complete = dataclasses.replace(confirmed(fresh), is_complete=True)
        found += headline(dataclasses.replace(FIVE, confirmation=complete)).claims_effect
    assert found > 90
