"""Resamples, and the intervals that they give."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeps.estimates.bootstrap import DRAWS, percentile_interval, resamples
from sweeps.estimates.spread import Interval


def test_resamples_draw_as_many_as_there_are() -> None:
    counts = resamples(5, np.random.default_rng(0))
    assert counts.shape == (DRAWS, 5) and (counts.sum(axis=1) == 5).all()
    assert counts.mean() == 1 and counts.var() == pytest.approx(0.8, abs=0.05)  # binomial: 5 * 1/5 * 4/5
    assert (resamples(5, np.random.default_rng(0)) == counts).all()
    assert (resamples(5, np.random.default_rng(1)) != counts).any()


def test_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=200)
    counts = resamples(200, np.random.default_rng(1), draws=4000)
    found = percentile_interval(counts @ values / 200)
    assert found is not None
    reach = 1.96 * values.std() / math.sqrt(200)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.015)


def test_percentiles_by_hand() -> None:
    assert percentile_interval(np.arange(41.0)) == Interval(1.0, 39.0)
    assert percentile_interval(np.array([math.nan, 2.0, 2.0])) == Interval(2.0, 2.0)
    assert percentile_interval(np.array([math.nan, math.nan, 2.0])) is None
    assert percentile_interval(np.array([])) is None
