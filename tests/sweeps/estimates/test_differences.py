"""Paired differences: t intervals and p values by hand and by SciPy, and Holm's procedure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.estimates.differences import compare_all, holm, t_interval
from sweeps.estimates.spread import Interval, Spread, chance_of_the_best


def test_two_pairs_by_hand() -> None:
    found = compare_all({"a": {0: 1.0, 1: 3.0}})["a"]
    assert found.spread == Spread(2.0, math.sqrt(2), 2)
    # One degree of freedom is Cauchy's distribution: the quantile of 97.5 % is tan(0.475 pi), the error of the mean 1.
    reach = math.tan(0.475 * math.pi)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((2 - reach, 2 + reach))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2))
    assert found.adjusted == found.interval and found.p_adjusted == found.p and not found.is_effect
    assert str(found) == "+2.00 ± 1.41 [-10.71, +14.71] (n=2)"


def test_intervals_and_p_values_are_those_of_scipy() -> None:
    numbers = np.random.default_rng(0)
    for n in (2, 3, 5, 30):
        values = numbers.normal(0.4, 1, n).tolist()
        found = compare_all({0: dict(enumerate(values))})[0]
        test = stats.ttest_1samp(values, 0)
        low, high = test.confidence_interval(0.95)
        assert found.interval is not None
        assert (found.p, found.interval.low, found.interval.high) == pytest.approx((test.pvalue, low, high))


def test_one_pair_has_no_interval_and_is_no_effect() -> None:
    found = compare_all({"a": {0: 50.0}, "b": {}})
    for difference in found.values():
        assert difference.interval is None and difference.adjusted is None
        assert difference.p is None and difference.p_adjusted is None and not difference.is_effect
    assert [str(difference) for difference in found.values()] == ["+50.00 (n=1)", "-"]


def test_differences_that_do_not_vary() -> None:
    nothing, always = compare_all({"a": {0: 0.0, 1: 0.0}, "b": {0: 1.0, 1: 1.0}}).values()
    assert nothing.p == 1.0 and not nothing.is_effect
    assert always.p == 0.0 and always.is_effect and always.adjusted == Interval(1.0, 1.0)


def test_quotients_are_compared_with_one() -> None:
    found = compare_all({"a": {0: 0.9, 1: 1.0, 2: 1.1}}, null=1.0)["a"]
    assert found.p == pytest.approx(1.0) and not found.is_effect
    assert str(found) == "1.00 ± 0.10 [0.75, 1.25] (n=3)"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.02, 0.9]) == pytest.approx([1.0, 0.06, 1.0])
    assert holm([]) == []


def test_levels_are_those_of_the_places_in_holms_order() -> None:
    sure, likely, vague = ({0: m - 0.1, 1: m, 2: m + 0.1} for m in (9.0, 0.5, 0.01))
    found = compare_all({"vague": vague, "sure": sure, "likely": likely, "one": {0: 7.0}})
    # Four comparisons: "sure" at 1 - 0.05 / 4 and "likely" at 1 - 0.05 / 3 are rejected, the others are not.
    assert [found[key].is_effect for key in ("sure", "likely", "vague", "one")] == [True, True, False, False]
    for key, values, level in (("sure", sure, 4), ("likely", likely, 3), ("vague", vague, 2)):
        assert found[key].adjusted == t_interval(list(values.values()), 1 - 0.05 / level)
        assert found[key].family == 4


def test_an_adjusted_interval_leaves_out_zero_exactly_where_holm_rejects() -> None:
    numbers = np.random.default_rng(1)
    effects = 0
    for _ in range(300):
        shifts = numbers.choice([0.0, 1.5, 3.0], 4)
        found = compare_all({i: dict(enumerate(numbers.normal(m, 1, 4))) for i, m in enumerate(shifts)})
        for difference in found.values():
            assert difference.p_adjusted is not None
            assert difference.is_effect == (difference.p_adjusted <= 0.05)
            effects += difference.is_effect
    assert 50 < effects < 1150, "both happen"


def test_the_best_of_equals_lies_above_them() -> None:
    numbers = np.random.default_rng(0)
    for num in (2, 5, 40):
        drawn = numbers.normal(size=(20_000, num)).max(axis=1).mean()
        assert chance_of_the_best(num) == pytest.approx(drawn, abs=0.04)
    assert chance_of_the_best(1) == pytest.approx(0)
