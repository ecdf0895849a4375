"""When a trial is not worth another seed, by hand."""

from __future__ import annotations

import math

import pytest
from optuna.trial import create_trial

from sweeps.search.replicates import can_catch_up, curves, is_of_failure, spread_between_seeds, suffix


@pytest.mark.parametrize(
    ("scores", "num_seeds", "best", "spread", "expected"),
    [
        # (30 + 2 * (30 + 3)) / 3 = 32
        ([30.0], 3, 32.0, 3.0, True),
        ([30.0], 3, 32.1, 3.0, False),
        # (30 + 36 + (36 + 6)) / 3 = 36
        ([30.0, 36.0], 3, 36.0, 6.0, True),
        ([30.0, 36.0], 3, 36.1, 6.0, False),
        # The last seed is through: its mean stands, however low.
        ([1.0, 1.0, 1.0], 3, 50.0, 0.0, True),
        # Nothing is known of how seeds differ, or there is nothing to catch up with.
        ([1.0], 3, 50.0, math.inf, True),
        ([1.0], 3, -math.inf, 0.0, True),
    ],
)
def test_can_catch_up(scores: list[float], num_seeds: int, best: float, spread: float, expected: bool) -> None:
    assert can_catch_up(scores, num_seeds, best, spread) is expected


def test_spread_is_the_widest_range_within_a_trial() -> None:
    assert spread_between_seeds([[30.0, 33.0, 31.0], [50.0], [], [40.0, 41.0]]) == 3.0
    assert spread_between_seeds([[30.0], [99.0]]) == math.inf


def test_suffix_is_empty_for_a_single_seed() -> None:
    assert [suffix(1, [0, 1]), suffix(7, [7])] == ["-s1", ""]


def test_a_curve_has_what_an_older_version_knew_before_its_own_first_report() -> None:
    """At 200 the intermediate values hold the mean over two seeds, which is no report."""
    trial = create_trial(
        value=9.0,
        intermediate_values={20: 1.0, 40: 2.0, 200: 9.0},
        user_attrs={"curves": {"40": {"criteria/snd": 3.0}}},
    )
    assert curves(trial) == {20: {"mIoU": 1.0}, 40: {"criteria/snd": 3.0}}
    old = create_trial(values=[1.0, 2.0], user_attrs={"curve": {"20": 1.0}})
    assert curves(old) == {20: {"mIoU": 1.0}}


def test_another_attempt_makes_void_what_is_about_the_failure_alone() -> None:
    attrs = {
        "status-s0": "complete",
        "status-s1": "failed",
        "error-s1": "x",
        "error": "x",
        "diverged": True,
        "metrics": {},
    }
    assert [key for key, value in attrs.items() if not is_of_failure(key, value)] == ["status-s0", "metrics"]
