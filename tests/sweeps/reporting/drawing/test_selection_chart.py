"""The chart of regrets and rank correlations."""

from __future__ import annotations

import re

import pytest

from sweeps.estimates.spread import Interval
from sweeps.findings.selection_quality import ORACLE, Agreement, Estimate, Quality
from sweeps.reporting.drawing.selection_chart import selection_chart


def quality(name: str, regret: float, rho: float | None) -> Quality:
    agreement = None
    if rho is not None:
        found = Estimate(rho, Interval(rho - 0.1, min(rho + 0.1, 1.0)))
        agreement = Agreement(num=9, spearman=found, kendall=found)
    return Quality(
        name=name,
        chosen="0001",
        score=30.0,
        report_score=None,
        regret=Estimate(regret, None),
        trials=agreement,
        checkpoints=None,
    )


@pytest.mark.parametrize("width", [980, 350])
def test_bars_are_regrets_and_dots_are_correlations(width: int) -> None:
    chart = selection_chart([quality("snd", 2.0, 0.5), quality("a<b", 1.0, -0.5), quality(ORACLE, 0.0, None)], width)
    bars = [float(w) for w in re.findall(r'class="bar"[^>]* width="([0-9.]+)"', chart)]
    assert len(bars) == 2 and bars[0] == pytest.approx(2 * bars[1], abs=0.1)
    dots = [float(x) for x in re.findall(r'class="dot base" cx="([0-9.]+)"', chart)]
    zero = float(re.findall(r'class="grid" x1="([0-9.]+)"', chart)[0])
    assert len(dots) == 2 and dots[0] - zero == pytest.approx(zero - dots[1], abs=0.2) and dots[0] > zero
    assert all(0 <= float(x) <= width for x in re.findall(r'[xc12]="([0-9.]+)"', chart))
    assert "a&lt;b: chose 0001, regret 1.00, Spearman over trials -0.50" in chart and "oracle" not in chart


def test_what_cannot_be_computed_is_not_drawn() -> None:
    chart = selection_chart([quality("snd", 0.0, float("nan"))], 980)
    assert "dot" not in chart and "nan" not in re.sub("<title>.*?</title>", "", chart)
    assert selection_chart([quality(ORACLE, 0.0, None)], 980) == "" == selection_chart([], 980)
