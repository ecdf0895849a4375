"""What stands at the top of a report: what the sweep has shown, four numbers, and what was asked for."""

from __future__ import annotations

import html

from sweeps.common import words
from sweeps.common.names import Kind, Status
from sweeps.reporting import tables
from sweeps.reporting.data import SweepReport
from sweeps.reporting.headline import headline
from sweeps.results.tables import typeset
from sweeps.search.schedulers import in_words


def header(report: SweepReport) -> str:
    """Return the top of the page as HTML."""
    boxes = "".join(
        f'<div class="tile"><b>{html.escape(number)}</b><span>{html.escape(text)}</span></div>'
        for number, text in _tiles(report)
    )
    changes = "".join(f"<p><b>Note.</b> {html.escape(sentence)}</p>" for sentence in report.changes)
    return (
        f"<header><h1>{html.escape(report.sweep.folder.name)}</h1><p>{html.escape(headline(report.finding).text)}</p>"
        f'<p class="soft">{html.escape(_about(report))}</p>{changes}<div class="tiles">{boxes}</div></header>'
    )


def _tiles(report: SweepReport) -> list[tuple[str, str]]:
    """Return four numbers, each with what it is."""
    sweep, best = report.sweep, report.best
    searched = [trial.status for trial in report.trials if not sweep.is_search or trial.kind == Kind.SEARCH]
    order = (Status.COMPLETE, Status.PRUNED, Status.FAILED, Status.RUNNING, Status.INTERRUPTED)
    counts = ", ".join(f"{searched.count(status)} {status}" for status in order if status in searched)
    _, spent = tables.cost_of(report)
    shares = {"saved": spent.saved, "in trials that were stopped early or failed": spent.wasted_share}
    told = "".join(f", {words.percent(share)} {name}" for name, share in shares.items() if share > 0.005)
    return [
        (
            typeset(report.score_text(best.score) if best else words.NOTHING),
            f"highest {report.selection.name}" + (f", {best.label}" if best else ""),
        ),
        _against_base(report),
        (f"{len(searched)} of {sweep.num_trials}", f"trials: {counts}" if counts else "trials started"),
        (_hours(spent.used), f"worker-time{told}"),
    ]


def _against_base(report: SweepReport) -> tuple[str, str]:
    """Return the difference to the base, which is that of the confirmation and no other."""
    confirmation = report.confirmation
    if confirmation is None or not confirmation.is_complete:
        base = f", {report.score_text(report.base.score)}" if report.base else ""
        return "not confirmed", f"against the base{base}"
    first = next(iter(confirmation.effects), confirmation.trials[0])
    found = first.difference
    if found.adjusted is None:
        return "no interval", f"against the base, {first.label} in the confirmation"
    spec, what = ("+.2f", "points ") if confirmation.unit else ("+.4f", f"{confirmation.metric} ")
    interval = typeset(f"{found.adjusted.low:{spec}} to {found.adjusted.high:{spec}}")
    return (
        typeset(f"{found.spread.mean:{spec}}"),
        f"{what}against the base in the confirmation, {first.label}, 95 % interval {interval}"
        f"{'' if found.is_effect else ': no effect'}",
    )


def _about(report: SweepReport) -> str:
    """Return what the sweep was asked for."""
    options, seeds = report.sweep.options, report.sweep.seeds
    how = f"search {options.search}, scheduler {in_words(options)}" if report.sweep.is_search else "tables of the paper"
    about = (
        f"{options.start.removeprefix('the ').capitalize()}, {words.count(report.iterations, 'iteration')}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}, "
        f"{words.count(report.sweep.num_workers, 'worker')} per trial; {how}."
    )
    if report.costs:
        about += f" Objectives {', '.join(report.sweep.objectives)}."
    return about


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else words.duration(seconds)
