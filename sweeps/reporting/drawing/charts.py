"""The charts of a report, as SVG that is written by hand: it needs no script, takes the page's colors, and prints.

Text in an SVG shrinks with it, so that the wide ones are made for a width in pixels, once for a desk and once for a
phone. What a mark stands for is in its <title>, which browsers show under the pointer and readers read.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence

from sweeps.common.names import METRIC, Kind, Status
from sweeps.common.words import number, param_text, short
from sweeps.definition.objectives import DIRECTIONS, OBJECTIVES, front
from sweeps.reporting.data import SweepReport
from sweeps.reporting.drawing.axes import Axis, linear_axis, padded_axis, param_axis
from sweeps.reporting.drawing.svg import Plot, cross, dot, halo_text, rule, svg
from sweeps.results.summaries import Summary

_LEVELS = 5  # shades of the parallel coordinates


def curves(report: SweepReport, width: int) -> str:
    """Return the chart of mIoU over iterations, or "" where no trial was evaluated.

    It has a line per trial, the rungs at which trials may be stopped, and a cross where one was.

    Args:
        report: What is known of the sweep.
        width: Width of the picture in pixels.
    """
    lines = {
        trial.label: (trial, report.curves[trial.label]) for trial in report.trials if trial.label in report.curves
    }
    if not lines:
        return ""
    height, left, right, top, bottom = min(440, 170 + width // 3), 46, 92, 22, 38
    y_axis = linear_axis(*_interesting(report), 5)
    x_axis = linear_axis(0, report.iterations, max(2, width // 140))
    plot = Plot(left, top, width - left - right, height - top - bottom)
    best, base = report.best, report.base
    parts = [plot.y_grid(y_axis), plot.x_ticks(x_axis), plot.x_title("iteration"), plot.y_title(report.selection.title)]
    for k, rung in enumerate(report.rungs):
        name = f"rung {rung}" if k == 0 or width > 600 else str(rung)
        title = f"rung at iteration {rung}{_of_brackets(report.sweep.options.brackets, k)}"
        parts.append(_rung(plot, plot.x(x_axis.place(rung)), name, title))
    named, trials, inside = [], [], Plot(0, 0, plot.width, plot.height)
    for trial, curve in sorted(lines.values(), key=lambda line: (line[0] is base, line[0] is best)):
        style = _style(trial, best)
        points = [(inside.x(x_axis.place(step)), inside.y(y_axis.place(value))) for step, value in curve.items()]
        trials.append(_curve(report, trial, curve, points, style))
        if style in ("best", "base"):
            *_, last = curve.values()
            named.append((plot.top + points[-1][1], style, f"{trial.label} {number(last, report.selection.spec)}"))
    # An SVG within another cuts off what lies outside, here below.
    parts.append(
        f'<svg class="inside" x="{left}" y="{top}" width="{plot.width + 4}" height="{plot.height}" '
        f'viewBox="0 0 {plot.width + 4} {plot.height}">{"".join(trials)}</svg>'
    )
    for y, style, text in _apart(named, 14):
        parts.append(f'<text class="name {style}" x="{plot.x(1) + 7:.1f}" y="{y + 4:.1f}">{html.escape(text)}</text>')
    return svg(width, height, f"{report.selection.name} over iterations of {len(lines)} trials", parts)


def _rung(plot: Plot, x: float, name: str, title: str) -> str:
    """Return the dotted line of a rung, with its name above it."""
    bottom = plot.top + plot.height
    return (
        f"<g><title>{title}</title>"
        f'<line class="rung" x1="{x:.1f}" x2="{x:.1f}" y1="{plot.top}" y2="{bottom}"/>'
        f'<text class="small" x="{x:.1f}" y="{plot.top - 7}" text-anchor="middle">{name}</text></g>'
    )


def _of_brackets(num: int, k: int) -> str:
    """Return which of `num` brackets the k-th rung, from 0, belongs to; "" where there is one bracket."""
    if num == 1:
        return ""
    return f" of brackets 1 to {min(k + 1, num)}" if k else " of bracket 1"


def _curve(
    report: SweepReport,
    trial: Summary,
    curve: Mapping[int, float],
    points: Sequence[tuple[float, float]],
    style: str,
) -> str:
    """Return the line of a trial through these points of the picture, with a mark at its end."""
    step, value = list(curve.items())[-1]
    stopped = trial.status in (Status.PRUNED, Status.FAILED)
    mark = cross(*points[-1], style) if stopped else dot(*points[-1], style, 2.5)
    score = f"{report.selection.name} {report.score_text(value)}"
    title = html.escape(f"{trial.label}, {trial.status}: {score} at iteration {step}")
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<g class="trial"><title>{title}</title><polyline class="line {style}" points="{drawn}"/>{mark}</g>'


def _interesting(report: SweepReport) -> tuple[float, float]:
    """Return the range of mIoU to show.

    Where the first quarter of the trainings lies far below the rest, it would leave no room for that, and is left out.
    """
    curves = [report.curves[trial.label] for trial in report.trials if trial.label in report.curves]
    every = [v for curve in curves for v in curve.values()]
    late = [v for curve in curves for step, v in curve.items() if step >= report.iterations / 4] or every
    low = min(late) if max(late) - min(late) < 0.6 * (max(every) - min(every)) else min(every)
    pad = 0.05 * (max(every) - low)
    return low - pad, max(every) + pad


def pareto(report: SweepReport, width: int) -> str:
    """Return the chart of mIoU over the first of the other objectives, which are minimized.

    It has the complete trials and the front of these two objectives; "" where there is one objective, or no trial.

    Args:
        report: What is known of the sweep.
        width: Width of the picture in pixels.
    """
    names = [METRIC, *report.costs[:1]]
    trials = [*report.complete, *([report.base] if report.base else [])]
    values = {
        trial.label: (trial.score, trial.means[names[-1]])
        for trial in trials
        if trial.score is not None and names[-1] in trial.means
    }
    if len(names) < 2 or not values:
        return ""
    height, left, right, top, bottom = min(440, 170 + width // 3), 46, 46, 22, 38
    plot = Plot(left, top, width - left - right, height - top - bottom)
    y_axis = padded_axis([y for y, _ in values.values()], 5)
    x_axis = padded_axis([x for _, x in values.values()], max(2, width // 140))
    at = {label: (plot.x(x_axis.place(x)), plot.y(y_axis.place(y))) for label, (y, x) in values.items()}
    searched = {trial.label: values[trial.label] for trial in report.complete if trial.label in values}
    best = front(searched, [DIRECTIONS[name] for name in names])
    parts = [
        plot.y_grid(y_axis),
        plot.x_ticks(x_axis),
        plot.x_title(OBJECTIVES[names[1]].axis),
        plot.y_title(report.selection.title),
        _steps(plot, [at[label] for label in best]),
    ]
    for trial in (trial for trial in trials[::-1] if trial.label in at):
        style = "front" if trial.pareto and trial is not report.best else _style(trial, report.best)
        costs = [f"{name} {number(trial.means.get(name))}" for name in report.costs]
        told = ", ".join([f"{report.selection.name} {report.score_text(trial.score)}", *costs])
        x, y = at[trial.label]
        parts.append(f"<g><title>{html.escape(trial.label)}: {told}</title>{dot(x, y, style, 5)}</g>")
        if style in ("best", "base") or (style == "front" and width > 600):  # on a phone names would touch
            parts.append(halo_text(x + 7, y + 14, trial.label))
    return svg(width, height, f"{report.selection.name} over {names[1]} of {len(at)} complete trials", parts)


def _steps(plot: Plot, corners: Sequence[tuple[float, float]]) -> str:
    """Return the line of a front in steps between these corners: a budget buys what the dearest trial within it has."""
    if not corners:
        return ""
    ordered = sorted(corners, key=lambda corner: (corner[0], -corner[1]))
    path = f"M{ordered[0][0]:.1f} {plot.y(0):.1f}"
    path += "".join(f"V{y:.1f}H{x:.1f}" for (_, y), (x, _) in itertools.pairwise([*ordered, (plot.x(1), 0)]))
    return f'<path class="line front" d="{path}"/>'


def slices(report: SweepReport) -> list[str]:
    """Return a chart per parameter: its value and the mIoU of each complete trial, and the values that were pruned."""
    complete = report.complete
    pruned = [t for t in report.trials if t.kind == Kind.SEARCH and t.status == Status.PRUNED]
    if not complete:
        return []
    base = report.base.score if report.base else None
    values = [_score(trial) for trial in complete] + ([base] if base is not None else [])
    pad = 0.08 * (max(values) - min(values))
    y_axis = linear_axis(min(values) - 3 * pad, max(values) + pad, 5)  # with room for the crosses at the bottom
    keys = [key for key in report.params if any(key in trial.params for trial in complete)]
    return [_slice(report, key, [*complete, *pruned], y_axis, base) for key in keys]


def parallel(report: SweepReport, width: int) -> str:
    """Return the chart of a line per complete trial through its parameters to its mIoU.

    Its lines have five shades from the worst to the best; "" where there are too few trials, or no parameters.

    Args:
        report: What is known of the sweep.
        width: Width of the picture in pixels.
    """
    complete = report.complete[::-1]
    keys = [key for key in report.params if all(key in trial.params for trial in complete)]
    if len(complete) < 2 or not keys:
        return ""
    height, left, right, top, bottom = 300, 34, 44, 40, 14
    plot = Plot(left, top, width - left - right, height - top - bottom)
    axes = [param_axis([trial.params[key] for trial in complete], report.sweep.space.get(key)) for key in keys]
    axes.append(linear_axis(_score(complete[0]), _score(complete[-1])))
    parts = []
    for i, trial in enumerate(complete):
        values = [*(trial.params[key] for key in keys), trial.score]
        points = " ".join(
            f"{plot.x(j / len(keys)):.1f},{plot.y(axis.place(value)):.1f}"
            for j, (axis, value) in enumerate(zip(axes, values, strict=True))
        )
        style = "best" if trial is report.best else f"level{i * _LEVELS // len(complete)}"
        settings = ", ".join(f"{short(key)} {param_text(trial.params[key])}" for key in keys)
        title = html.escape(f"{trial.label}: {report.selection.name} {report.score_text(trial.score)}; {settings}")
        parts.append(f'<g class="trial"><title>{title}</title><polyline class="line {style}" points="{points}"/></g>')
    for j, (axis, key) in enumerate(zip(axes, [*keys, report.selection.name], strict=True)):
        x = plot.x(j / len(keys))
        raised = 14 * (j % 2) if width < 600 else 0  # names of neighbors would touch
        parts.append(rule("axis", (x, x), (top, top + plot.height)))
        name = html.escape(short(key))
        parts.append(f'<text class="name" x="{x:.1f}" y="{top - 10 - raised}" text-anchor="middle">{name}</text>')
        parts += [halo_text(x + 4, plot.y(place) + 4, text) for place, text in axis.ticks]
    return svg(width, height, f"Parameters and {report.selection.name} of {len(complete)} complete trials", parts)


def _slice(report: SweepReport, key: str, trials: Sequence[Summary], y_axis: Axis, base: float | None) -> str:
    """Return the chart of one parameter, with a line at the base's mIoU where there is one."""
    width, height = 300, 210
    plot = Plot(46, 22, width - 58, height - 66)
    with_value = [trial for trial in trials if key in trial.params]
    x_axis = param_axis([trial.params[key] for trial in with_value], report.sweep.space.get(key))
    parts = [plot.y_grid(y_axis), plot.x_ticks(x_axis), plot.x_title(short(key)), plot.y_title(report.selection.title)]
    if base is not None:
        y = plot.y(y_axis.place(base))
        line = rule("line base", (plot.left, plot.x(1)), (y, y))
        parts.append(f"<g><title>base: {report.selection.name} {report.score_text(base)}</title>{line}</g>")
    for trial in with_value:
        x = plot.x(x_axis.place(trial.params[key]))
        value, score = param_text(trial.params[key]), trial.score or 0.0
        title = html.escape(
            f"{trial.label}, {trial.status}: {short(key)} {value}, {report.selection.name} {report.score_text(score)}"
        )
        if trial.is_complete:
            mark = dot(x, plot.y(y_axis.place(score)), "best" if trial is report.best else "other", 4)
        else:  # its score is of another iteration: it has no place on the axis of scores
            mark = cross(x, plot.top + plot.height - 6, "other")
        parts.append(f"<g><title>{title}</title>{mark}</g>")
    return svg(width, height, f"{report.selection.name} by {short(key)}", parts)


def _score(trial: Summary) -> float:
    assert trial.score is not None, "the report's complete trials have scores"
    return trial.score


def _style(trial: Summary, best: Summary | None) -> str:
    """Return the class of a trial's marks in the page's style."""
    if trial.kind == Kind.REFERENCE:
        return "base"
    if trial is best:
        return "best"
    return "other" if trial.is_complete else "stopped"


def _apart(named: Sequence[tuple[float, str, str]], gap: float) -> list[tuple[float, str, str]]:
    """Move labels, (height, style, text) each, down until they no longer touch."""
    placed: list[tuple[float, str, str]] = []
    for y, style, text in sorted(named):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, style, text))
    return placed
