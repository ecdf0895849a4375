"""The sections of a report's page as HTML."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, NamedTuple

from sweeps.common.commands import report_command
from sweeps.common.names import METRIC
from sweeps.common.words import number
from sweeps.reporting import evidence, tables
from sweeps.reporting.data import SweepReport
from sweeps.reporting.drawing import charts
from sweeps.reporting.drawing.selection_chart import selection_chart
from sweeps.reporting.formats import to_html

if TYPE_CHECKING:
    from sweeps.reporting.pictures import Gallery

DESK, PHONE = 980, 350
"""Widths in pixels that the wide charts are made for."""


class Section(NamedTuple):
    """One section of the page.

    Attributes:
        anchor: What links to it name it.
        title: Its heading.
        content: Its HTML; "" where it has nothing to say.
    """

    anchor: str
    title: str
    content: str


def all_sections(report: SweepReport, gallery: Gallery | None) -> list[Section]:
    """Return the sections in their order; see :func:`sweeps.reporting.webpage.page.page` for the arguments."""
    return [
        Section("confirmation", "Confirmation", _confirmation(report)),
        Section("ranking", "Ranking", _ranking(report)),
        Section("pareto", "Pareto front", _pareto(report)),
        Section(
            "paper",
            "Encoders" if report.sweep.options.encoders else "Beside the paper",
            "".join(to_html(table) for table in tables.paper(report)),
        ),
        Section("curves", "Learning curves", _curves(report)),
        Section("selection", "Choice without labels", _selection(report)),
        Section("parameters", "Parameters", _parameters(report)),
        Section("classes", "Classes", _classes(report)),
        Section("pictures", "Pictures", _pictures(gallery)),
        Section("cost", "Cost", to_html(tables.cost(report))),
        Section("reproduce", "Reproduce", _reproduce(report)),
    ]


def _confirmation(report: SweepReport) -> str:
    table = evidence.confirmation(report)
    return to_html(table) if table else ""


def _selection(report: SweepReport) -> str:
    table = evidence.selection(report)
    if table is None:
        return ""
    text = (
        f"Bars are the regret, the highest {METRIC} less that of the trial that the criterion would have chosen. Dots "
        "are Spearman's rank correlation with it, filled over trials, hollow over all checkpoints, with 95 % bootstrap "
        "intervals."
    )
    desk, phone = (selection_chart(report.qualities, width) for width in (DESK, PHONE))
    return _figure(desk, phone, text) + to_html(table)


def _ranking(report: SweepReport) -> str:
    if not report.rows:
        return "<p>No trial has been started yet.</p>"
    failed = tables.failures(report)
    return to_html(tables.ranked(report), classes="sortable") + (to_html(failed, classes="wrap") if failed else "")


def _pareto(report: SweepReport) -> str:
    table = tables.pareto(report)
    if table is None:
        return "<p>No trial is complete yet.</p>" if report.costs else ""
    text = (
        f"Each point is a complete trial: the front is dark, the trial with the highest {report.selection.name} orange"
        f"{', the base black' if report.base else ''}. Below and to the right of the line lie the trials that another "
        "trial beats on both."
    )
    if len(report.costs) > 1:
        text += f" A trial may also be on the front for its {report.costs[1]}, which the chart does not show."
    return _figure(charts.pareto(report, DESK), charts.pareto(report, PHONE), text) + to_html(table)


def _curves(report: SweepReport) -> str:
    if not report.curves:
        return "<p>No trial has been evaluated yet.</p>"
    keys = [
        ("--accent", "solid", "best"),
        ("--fg", "dashed", "base"),
        ("--other", "solid", "complete"),
        ("--stopped", "solid", "not complete"),
    ]
    legend = " ".join(
        f'<span class="pair"><i class="key" style="border-color:var({c});border-top-style:{s}"></i>{t}</span>'
        for c, s, t in keys
    )
    options = report.sweep.options
    text = f"{legend}. A cross marks the end of a trial that was stopped early or failed."
    if report.rungs:
        text += " Dotted lines are the rungs, the iterations at which the scheduler may stop a trial."
    if options.brackets > 1:
        text += (
            f" Trials take turns in {options.brackets} brackets and compete within theirs; bracket k begins at the "
            "k-th rung."
        )
    if options.population:
        text += " The line of a child begins where the child was forked from its parent."
    if len(report.sweep.seeds) > 1:
        text += " Curves are those of each trial's first seed."
    text += " What lies far below the range of the later iterations is cut off."
    return _figure(charts.curves(report, DESK), charts.curves(report, PHONE), text)


def _parameters(report: SweepReport) -> str:
    table = tables.importance(report)
    parts = ["<h3>Importance</h3>"]
    parts.append(to_html(table) if table else f"<p>Not known: {html.escape(report.importances.missing)}.</p>")
    small = charts.slices(report)
    if small:
        base = " The dashed line is the base." if report.base else ""
        parts.append(
            f"<h3>Slices</h3><figure><figcaption>Each point is a complete trial, the best in orange.{base} A cross at "
            "the bottom is a trial that was stopped early (pruned).</figcaption>"
            f'<div class="small-charts">{"".join(small)}</div></figure>'
        )
    wide = charts.parallel(report, DESK)
    if wide:
        shades = "".join(f'<i class="key" style="border-color:var(--l{k});margin:0"></i>' for k in range(5))
        legend = (
            f"Each line is a complete trial: {shades} from the fifth of trials with the lowest {report.selection.name} "
            "to that with "
            'the highest<i class="key" style="border-color:var(--accent)"></i>best'
        )
        parts.append(f"<h3>Parallel coordinates</h3>{_figure(wide, charts.parallel(report, PHONE), legend)}")
    return "\n".join(parts)


def _classes(report: SweepReport) -> str:
    table = tables.per_class(report)
    return to_html(table, classes="heat") if table else "<p>No trial is complete yet.</p>"


def _pictures(gallery: Gallery | None) -> str:
    if gallery is None:
        return (
            "<p>This report has no pictures. They are drawn when the sweep ends, and by "
            f"<code>{report_command()}</code>.</p>"
        )
    parts = [f'<p class="soft">{html.escape(" ".join(gallery.notes))}</p>'] if gallery.notes else []
    for name, panels in gallery.images:
        shown = "".join(
            f'<figure><img src="{uri}" alt="{html.escape(heading)} of {html.escape(name)}">'
            f"<figcaption>{html.escape(heading)}</figcaption></figure>"
            for heading, uri in panels
        )
        parts.append(f'<h3>{html.escape(name)}</h3><div class="images">{shown}</div>')
    if gallery.images:
        entries = "".join(f'<li><i style="background:{c}"></i>{html.escape(n)}</li>' for n, c in gallery.legend)
        parts.append(f'<ul class="legend">{entries}</ul>')
    return "\n".join(parts)


def _reproduce(report: SweepReport) -> str:
    parts = ["<h3>The sweep</h3>"]
    for driver in report.sweep.drivers:
        versions = ", ".join(f"{name} {version}" for name, version in driver["versions"].items())
        parts.append(f"<pre>{html.escape(driver['command'])}</pre>")
        parts.append(f'<p class="soft">{html.escape(driver["started"])}; {html.escape(versions)}</p>')
    parts.append("<h3>One run</h3>")
    roles = ((", the best", report.best), (", without contrast", report.base))
    named = {trial.run.label: role for role, trial in roles if trial}
    for run in report.runs:
        role = named.get(run.label, "")
        score = "" if run.score is None or math.isnan(run.score) else f", {number(run.score)} %"
        parts.append(
            f"<details{' open' if role else ''}><summary>{html.escape(run.label + role + score)}</summary>"
            f"<pre>{html.escape(report.commands[run.label])}</pre></details>"
        )
    return "\n".join(parts)


def _figure(desk: str, phone: str, caption: str) -> str:
    both = f'<div class="desk">{desk}</div><div class="phone">{phone}</div>'
    return f"<figure><figcaption>{caption}</figcaption>{both}</figure>"
