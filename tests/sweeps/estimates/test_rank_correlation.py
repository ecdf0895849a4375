"""Rank correlations by hand, by SciPy, and of resamples that are written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.estimates import rank_correlation
from sweeps.estimates.rank_correlation import RankCorrelation, kendall, spearman


def test_by_hand() -> None:
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    assert spearman(x, y) == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / n (n^2 - 1)
    assert kendall(x, y) == pytest.approx((5 - 1) / 6)
    assert spearman(x, -y) == pytest.approx(-0.8) and kendall(x, -y) == pytest.approx(-4 / 6)
    # Ties: x pairs 12 13 23 with 12 tied, y pairs with 23 tied; one pair is in order.
    assert kendall(np.array([1, 1, 2]), np.array([1, 2, 2])) == pytest.approx(1 / math.sqrt(2 * 2))
    assert spearman(np.array([1, 1, 2]), np.array([1, 2, 2])) == pytest.approx(0.5)


@pytest.mark.parametrize("distinct", [3, 1000])
def test_with_and_without_ties_they_are_those_of_scipy(distinct: int) -> None:
    numbers = np.random.default_rng(distinct)
    for n in (3, 10, 57):
        x = numbers.integers(0, distinct, n).astype(float)
        y = x + numbers.integers(0, distinct, n)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
        assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_what_does_not_vary_has_none() -> None:
    for correlation in (spearman, kendall):
        assert math.isnan(correlation(np.ones(3), np.arange(3)))
        assert math.isnan(correlation(np.array([1.0]), np.array([1.0])))


@pytest.mark.parametrize("block", [1, 2_000_000])
def test_a_resample_is_the_correlation_of_its_items(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_correlation, "_BLOCK", block)
    numbers = np.random.default_rng(0)
    groups = np.array([0, 2, 1, 0, 1, 2, 2, 0])
    x, y = numbers.integers(0, 5, 8).astype(float), numbers.normal(size=8)
    found = RankCorrelation(x, y, groups, 3)
    counts = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0], [1, 2, 0]], dtype=float)
    for row, rho, tau in zip(counts, found.spearman(counts), found.kendall(counts), strict=True):
        items = np.concatenate([np.flatnonzero(groups == g) for g in range(3) for _ in range(int(row[g]))])
        assert rho == pytest.approx(stats.spearmanr(x[items], y[items]).statistic)
        assert tau == pytest.approx(stats.kendalltau(x[items], y[items]).statistic)
    assert len(found.spearman(counts[:0])) == 0
