"""The chart of what criteria would have chosen, as SVG: the regret of each, and its rank correlation with mIoU."""

from __future__ import annotations

import html
from collections.abc import Sequence

from sweeps.common.words import number
from sweeps.findings.selection_quality import Agreement, Quality
from sweeps.reporting.drawing.axes import linear_axis
from sweeps.reporting.drawing.svg import Plot, dot, rule, svg

_LINE, _TOP, _BOTTOM, _MARGIN = 26, 24, 44, 14  # pixels: height of a line, above, below, right of each half
_NAME, _NARROW_NAME = 190, 128  # pixels of the names of criteria, wide and on a phone
_LETTERS = 20  # of a name on a phone


def selection_chart(qualities: Sequence[Quality], width: int) -> str:
    """Return the chart: on the left a bar of regret, on the right dots of Spearman's correlation with its intervals.

    Args:
        qualities: What each choice would have come to.
        width: Width of the picture in pixels.

    Returns:
        "" where there is nothing to draw.
    """
    shown = [quality for quality in qualities if not quality.is_oracle]
    if not shown:
        return ""
    names = _NAME if width > 600 else _NARROW_NAME
    half, height = (width - names) / 2 - _MARGIN, _LINE * len(shown)
    left = Plot(names, _TOP, half, height)
    right = Plot(names + half + 2 * _MARGIN, _TOP, half - _MARGIN, height)
    num_ticks = max(2, width // 240)
    regrets = linear_axis(0, max(quality.regret.value for quality in shown) or 1.0, num_ticks)
    correlations = linear_axis(-1, 1, num_ticks)
    zero = right.x(correlations.place(0))
    parts = [
        left.x_ticks(regrets),
        right.x_ticks(correlations),
        left.x_title("regret, points"),
        right.x_title("Spearman"),
        rule("grid", (zero, zero), (_TOP, _TOP + height)),
    ]
    for i, quality in enumerate(shown):
        y = _TOP + (i + 0.5) * _LINE
        name = quality.name if width > 600 else quality.name[:_LETTERS]
        bar = left.x(regrets.place(quality.regret.value)) - left.left
        marks = _mark(right, y - 3, quality.trials, "base") + _mark(right, y + 4, quality.checkpoints, "hollow")
        parts.append(
            f"<g><title>{html.escape(_told(quality))}</title>"
            f'<text class="small" x="{names - 8}" y="{y + 4:.1f}" text-anchor="end">{html.escape(_short(name))}</text>'
            f'<rect class="bar" x="{left.left}" y="{y - 7:.1f}" width="{max(bar, 1):.1f}" height="14"/>{marks}</g>'
        )
    label = f"Regret and rank correlation of {len(shown)} choices without labels"
    return svg(width, _TOP + height + _BOTTOM, label, parts)


def _mark(plot: Plot, y: float, agreement: Agreement | None, style: str) -> str:
    """Return a dot at Spearman's correlation with a line over its interval; "" where there is none."""
    if agreement is None or agreement.spearman.value != agreement.spearman.value:
        return ""
    axis, found = linear_axis(-1, 1), agreement.spearman
    line = ""
    if found.interval is not None:
        ends = (plot.x(axis.place(found.interval.low)), plot.x(axis.place(found.interval.high)))
        line = rule("axis", ends, (y, y))
    return line + dot(plot.x(axis.place(found.value)), y, style, 3.5)


def _told(quality: Quality) -> str:
    parts = [f"{quality.name}: chose {quality.chosen}", f"regret {number(quality.regret.value)}"]
    for over, found in (("trials", quality.trials), ("checkpoints", quality.checkpoints)):
        if found:
            parts.append(f"Spearman over {over} {number(found.spearman.value)}")
    return ", ".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:28]}.."
