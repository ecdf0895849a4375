"""The charts of a report, as SVG that is written by hand: it needs no script, takes the page's colors, and prints.

Text in an SVG shrinks with it, so that the wide ones are made for a width in pixels, once for a desk and once for a
phone. What a mark stands for is in its <title>, which browsers show under the pointer and readers read.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeps.definition.objectives import DIRECTIONS, front
from sweeps.reporting.data import Findings, score
from sweeps.reporting.tables import short
from sweeps.results.rows import Row
from sweeps.search.replicates import METRIC

_AXES = {"seconds": "seconds of training", "gpu_memory": "GPU memory, GiB"}
_LEVELS = 5  # shades of the parallel coordinates


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where values lie along a line, 0..1, and which of them are written beside it."""

    place: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def linear_axis(low: float, high: float, num: int = 4) -> Axis:
    """An axis of round ticks that spans `low` to `high`."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / num)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    place = _linear(low, high)
    return Axis(place=place, ticks=[(place(k * step), f"{k * step:.{digits}f}") for k in range(first, last + 1)])


def param_axis(values: Sequence[Any], distribution: BaseDistribution | None) -> Axis:
    """The axis of a parameter: as it is searched, or, of one that is not, as its values are.

    Choices are spaced evenly; numbers by their distribution, logarithmic where that is.
    """
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if isinstance(distribution, CategoricalDistribution) or not numeric:
        choices = list(getattr(distribution, "choices", ())) or sorted(set(values), key=str)
        choices = [*choices, *(v for v in dict.fromkeys(values) if v not in choices)]
        at = {v: (i + 0.5) / len(choices) for i, v in enumerate(choices)}
        return Axis(place=at.__getitem__, ticks=[(at[v], str(v)) for v in choices])
    low = min([*values, *([distribution.low] if distribution else [])])
    high = max([*values, *([distribution.high] if distribution else [])])
    if getattr(distribution, "log", False) and low > 0 and high > low:
        return _log_axis(low, high)
    if all(isinstance(v, int) for v in values) and high - low <= 8:
        place = _linear(low - 0.3, high + 0.3)
        return Axis(place=place, ticks=[(place(k), str(k)) for k in range(int(low), int(high) + 1)])
    return linear_axis(low, high)


def _of_brackets(findings: Findings, k: int) -> str:
    """Which brackets the k-th rung, from 0, belongs to, where there are several."""
    num = findings.sweep.flags["brackets"]
    if num == 1:
        return ""
    return f" of bracket{f's 1 to {min(k + 1, num)}' if k else ' 1'}"


def curves(findings: Findings, width: int) -> str:
    """mIoU over iterations: a line per trial, the rungs at which trials may be stopped, and where they were."""
    lines = {row["trial"]: (row, findings.curves.get(row["trial"], {})) for row in findings.trials}
    lines = {label: (row, curve) for label, (row, curve) in lines.items() if curve}
    if not lines:
        return ""
    height, left, right, top, bottom = min(440, 170 + width // 3), 46, 92, 22, 38
    low, high = _interesting(findings)
    y_axis = linear_axis(low, high, 5)
    x_axis = linear_axis(0, findings.iterations, max(2, width // 140))
    plot = _Plot(left, top, width - left - right, height - top - bottom)
    best, base = findings.best, findings.base
    parts = [plot.y_grid(y_axis), plot.x_ticks(x_axis), plot.x_title("iteration"), plot.y_title(f"{METRIC}, %")]
    for k, rung in enumerate(findings.rungs):
        x = plot.x(x_axis.place(rung))
        parts.append(
            f"<g><title>rung at iteration {rung}{_of_brackets(findings, k)}</title>"
            f'<line class="rung" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" '
            f'y2="{top + plot.height}"/><text class="small" x="{x:.1f}" y="{top - 7}" text-anchor="middle">'
            f"{'rung ' if k == 0 or width > 600 else ''}{rung}</text></g>"
        )
    named, inside = [], _Plot(0, 0, plot.width, plot.height)
    trials = []
    for label, (row, curve) in sorted(lines.items(), key=lambda item: (item[1][0] is base, item[1][0] is best)):
        style = _style(row, best)
        points = [(inside.x(x_axis.place(step)), inside.y(y_axis.place(v))) for step, v in curve.items()]
        x, y = points[-1]
        step, value = list(curve.items())[-1]
        mark = f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
        if row["status"] in ("pruned", "failed"):
            mark = f'<path class="cross {style}" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
        title = html.escape(f"{label}, {row['status']}: {METRIC} {value:.2f} at iteration {step}")
        trials.append(
            f'<g class="trial"><title>{title}</title>'
            f'<polyline class="line {style}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>{mark}</g>'
        )
        if style in ("best", "base"):
            named.append((plot.top + y, style, f"{label} {value:.2f}"))
    # An SVG within another cuts off what lies outside, here below.
    parts.append(
        f'<svg class="inside" x="{left}" y="{top}" width="{plot.width + 4}" height="{plot.height}" '
        f'viewBox="0 0 {plot.width + 4} {plot.height}">{"".join(trials)}</svg>'
    )
    for y, style, text in _apart(named, 14):
        parts.append(f'<text class="name {style}" x="{plot.x(1) + 7:.1f}" y="{y + 4:.1f}">{html.escape(text)}</text>')
    return _svg(width, height, f"{METRIC} over iterations of {len(lines)} trials", parts)


def _interesting(findings: Findings) -> tuple[float, float]:
    """The range of mIoU to show: where the first quarter lies far below the rest, it would leave no room for that."""
    curves = [findings.curves[row["trial"]] for row in findings.trials if row["trial"] in findings.curves]
    every = [v for curve in curves for v in curve.values()]
    late = [v for curve in curves for step, v in curve.items() if step >= findings.iterations / 4] or every
    low = min(late) if max(late) - min(late) < 0.6 * (max(every) - min(every)) else min(every)
    pad = 0.05 * (max(every) - low)
    return low - pad, max(every) + pad


def pareto(findings: Findings, width: int) -> str:
    """mIoU over the first of the other objectives, which are minimized: complete trials, and the front of these two."""
    names = [METRIC, *findings.costs[:1]]
    rows = [*findings.complete, *([findings.base] if findings.base else [])]
    points = {row["trial"]: [row["means"][name] for name in names] for row in rows if row["means"].keys() >= {*names}}
    if len(names) < 2 or not points:
        return ""
    height, left, right, top, bottom = min(440, 170 + width // 3), 46, 46, 22, 38
    plot = _Plot(left, top, width - left - right, height - top - bottom)
    y_axis = _padded([y for y, _ in points.values()], 5)
    x_axis = _padded([x for _, x in points.values()], max(2, width // 140))
    at = {label: (plot.x(x_axis.place(x)), plot.y(y_axis.place(y))) for label, (y, x) in points.items()}
    searched = {row["trial"]: points[row["trial"]] for row in findings.complete if row["trial"] in points}
    best = front(searched, [DIRECTIONS[name] for name in names])
    corners = sorted((at[label] for label in best), key=lambda corner: (corner[0], -corner[1]))
    # A budget buys what the dearest trial within it has, so that the line goes in steps.
    path = f"M{corners[0][0]:.1f} {plot.y(0):.1f}" if corners else ""
    path += "".join(f"V{y:.1f}H{x:.1f}" for (_, y), (x, _) in itertools.pairwise([*corners, (plot.x(1), 0)]))
    parts = [
        plot.y_grid(y_axis),
        plot.x_ticks(x_axis),
        plot.x_title(_AXES[names[1]]),
        plot.y_title(f"{METRIC}, %"),
        f'<path class="line front" d="{path}"/>' * bool(path),
    ]
    for row in (row for row in rows[::-1] if row["trial"] in at):
        style = "front" if row in findings.front and row is not findings.best else _style(row, findings.best)
        values = ", ".join(f"{name} {row['means'].get(name, math.nan):.2f}" for name in findings.sweep.objectives)
        x, y = at[row["trial"]]
        parts.append(
            f"<g><title>{html.escape(row['trial'])}: {values}</title>"
            f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="5"/></g>'
        )
        if style in ("best", "base") or (style == "front" and width > 600):  # on a phone names would touch
            parts.append(_halo_text(x + 7, y + 14, row["trial"]))
    return _svg(width, height, f"{METRIC} over {names[1]} of {len(at)} complete trials", parts)


def slices(findings: Findings) -> list[str]:
    """One chart per parameter: its value and the mIoU of each complete trial, and the values that were pruned."""
    complete = findings.complete
    pruned = [row for row in findings.trials if row["kind"] == "search" and row["status"] == "pruned"]
    if not complete:
        return []
    base = score(findings.base) if findings.base else None
    values = [row[METRIC] for row in complete] + ([base] if base is not None else [])
    pad = 0.08 * (max(values) - min(values))
    y_axis = linear_axis(min(values) - 3 * pad, max(values) + pad, 5)  # with room for the crosses at the bottom
    return [_slice(key, complete, pruned, findings, y_axis, base) for key in findings.params if _has(complete, key)]


def parallel(findings: Findings, width: int) -> str:
    """A line per complete trial through its parameters to its mIoU, in five shades from the worst to the best."""
    complete = findings.complete[::-1]
    keys = [key for key in findings.params if all(key in row for row in complete)]
    if len(complete) < 2 or not keys:
        return ""
    height, left, right, top, bottom = 300, 34, 44, 40, 14
    plot = _Plot(left, top, width - left - right, height - top - bottom)
    axes = [param_axis([row[key] for row in complete], findings.sweep.space.get(key)) for key in keys]
    axes.append(linear_axis(complete[0][METRIC], complete[-1][METRIC]))
    parts = []
    for i, row in enumerate(complete):
        values = [*(row[key] for key in keys), row[METRIC]]
        points = " ".join(
            f"{plot.x(j / len(keys)):.1f},{plot.y(axis.place(value)):.1f}"
            for j, (axis, value) in enumerate(zip(axes, values, strict=True))
        )
        style = "best" if row is findings.best else f"level{i * _LEVELS // len(complete)}"
        settings = ", ".join(f"{short(key)} {_text(row[key])}" for key in keys)
        title = html.escape(f"{row['trial']}: {METRIC} {row[METRIC]:.2f}; {settings}")
        parts.append(f'<g class="trial"><title>{title}</title><polyline class="line {style}" points="{points}"/></g>')
    for j, (axis, key) in enumerate(zip(axes, [*keys, METRIC], strict=True)):
        x = plot.x(j / len(keys))
        raised = 14 * (j % 2) if width < 600 else 0  # names of neighbors would touch
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + plot.height}"/>')
        name = html.escape(short(key))
        parts.append(f'<text class="name" x="{x:.1f}" y="{top - 10 - raised}" text-anchor="middle">{name}</text>')
        for place, text in axis.ticks:
            parts.append(_halo_text(x + 4, plot.y(place) + 4, text))
    return _svg(width, height, f"Parameters and {METRIC} of {len(complete)} complete trials", parts)


@dataclass(frozen=True)
class _Plot:
    """The rectangle in which values are drawn, in pixels of the picture."""

    left: float
    top: float
    width: float
    height: float

    def x(self, place: float) -> float:
        return self.left + place * self.width

    def y(self, place: float) -> float:
        return self.top + (1 - place) * self.height

    def y_grid(self, axis: Axis) -> str:
        return "".join(
            f'<line class="grid" x1="{self.left}" x2="{self.x(1):.1f}" y1="{self.y(p):.1f}" y2="{self.y(p):.1f}"/>'
            f'<text class="small" x="{self.left - 5}" y="{self.y(p) + 4:.1f}" text-anchor="end">{text}</text>'
            for p, text in axis.ticks
        )

    def x_ticks(self, axis: Axis) -> str:
        y = self.top + self.height
        return f'<line class="axis" x1="{self.left}" x2="{self.x(1):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>' + "".join(
            f'<line class="axis" x1="{self.x(p):.1f}" x2="{self.x(p):.1f}" y1="{y:.1f}" y2="{y + 4:.1f}"/>'
            f'<text class="small" x="{self.x(p):.1f}" y="{y + 16:.1f}" text-anchor="middle">{html.escape(text)}</text>'
            for p, text in axis.ticks
        )

    def x_title(self, text: str) -> str:
        y = self.top + self.height + 32
        return f'<text class="name" x="{self.x(0.5):.1f}" y="{y:.1f}" text-anchor="middle">{html.escape(text)}</text>'

    def y_title(self, text: str) -> str:
        return f'<text class="name" x="2" y="{self.top - 8:.1f}">{html.escape(text)}</text>'


def _slice(
    key: str, complete: list[Row], pruned: list[Row], findings: Findings, y_axis: Axis, base: float | None
) -> str:
    width, height = 300, 210
    plot = _Plot(46, 22, width - 58, height - 66)
    with_value = [row for row in (*complete, *pruned) if key in row]
    x_axis = param_axis([row[key] for row in with_value], findings.sweep.space.get(key))
    parts = [plot.y_grid(y_axis), plot.x_ticks(x_axis), plot.x_title(short(key)), plot.y_title(f"{METRIC}, %")]
    if base is not None:
        y = plot.y(y_axis.place(base))
        parts.append(
            f'<g><title>base: {METRIC} {base:.2f}</title><line class="line base" x1="{plot.left}" '
            f'x2="{plot.x(1):.1f}" y1="{y:.1f}" y2="{y:.1f}"/></g>'
        )
    for row in with_value:
        x = plot.x(x_axis.place(row[key]))
        title = f"{row['trial']}, {row['status']}: {short(key)} {_text(row[key])}, {METRIC} {score(row) or 0:.2f}"
        title = f"<title>{html.escape(title)}</title>"
        if row["status"] == "pruned":  # its score is of another iteration: it has no place on the axis of scores
            y = plot.top + plot.height - 6
            parts.append(f'<g>{title}<path class="cross other" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/></g>')
        else:
            style = "best" if row is findings.best else "other"
            y = plot.y(y_axis.place(row[METRIC]))
            parts.append(f'<g>{title}<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>')
    return _svg(width, height, f"{METRIC} by {short(key)}", parts)


def _padded(values: Sequence[float], num: int) -> Axis:
    pad = 0.08 * (max(values) - min(values)) or 0.5
    return linear_axis(min(values) - pad, max(values) + pad, num)


def _has(rows: Sequence[Row], key: str) -> bool:
    return any(key in row for row in rows)


def _style(row: Row, best: Row | None) -> str:
    if row["kind"] == "reference":
        return "base"
    if row is best:
        return "best"
    return "other" if row["status"] == "complete" else "stopped"


def _apart(named: list[tuple[float, str, str]], gap: float) -> list[tuple[float, str, str]]:
    """Moves labels down until they no longer touch."""
    placed: list[tuple[float, str, str]] = []
    for y, style, text in sorted(named):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, style, text))
    return placed


def _linear(low: float, high: float) -> Callable[[float], float]:
    return lambda value: (value - low) / (high - low)


def _log_axis(low: float, high: float) -> Axis:
    scale = _linear(math.log(low), math.log(high))
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 2, 5) if low * 0.999 <= m * 10.0**d <= high * 1.001]
    return Axis(place=lambda value: scale(math.log(value)), ticks=[(scale(math.log(t)), f"{t:g}") for t in ticks])


def _round_step(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if step <= m * power * (1 + 1e-9))


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _halo_text(x: float, y: float, text: str) -> str:
    return f'<text class="small halo" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
