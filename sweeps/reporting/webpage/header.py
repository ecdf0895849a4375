"""What stands at the top of a report: the result of the sweep in a sentence, four numbers, and what was asked for."""

from __future__ import annotations

import html

from sweeps.common import words
from sweeps.common.names import METRIC, Kind, Status
from sweeps.reporting import tables
from sweeps.reporting.data import SweepReport
from sweeps.results.tables import typeset
from sweeps.search.schedulers import in_words


def headline(report: SweepReport) -> str:
    """Return the result of the sweep in a sentence."""
    best, base, search = report.best, report.base, " of the search" if report.sweep.is_search else ""
    if best is None:
        return f"No trial{search} is complete yet." if report.rows else "No trial has been started yet."
    text = f"The best trial{search} is {best.label}, with {METRIC} {words.number(best.score)} %"
    if base is None:
        return f"{text}. There is no single complete base, the same training without contrast, to compare it with."
    difference = typeset(words.number(report.difference(best), "+.2f"))
    score = words.number(base.score)
    return f"{text}: {difference} points against the base, the same training without contrast ({score} %)."


def header(report: SweepReport) -> str:
    """Return the top of the page as HTML."""
    boxes = "".join(
        f'<div class="tile"><b>{html.escape(number)}</b><span>{html.escape(text)}</span></div>'
        for number, text in _tiles(report)
    )
    return (
        f"<header><h1>{html.escape(report.sweep.folder.name)}</h1><p>{html.escape(headline(report))}</p>"
        f'<p class="soft">{html.escape(_about(report))}</p><div class="tiles">{boxes}</div></header>'
    )


def _tiles(report: SweepReport) -> list[tuple[str, str]]:
    """Return four numbers, each with what it is."""
    sweep, best, base = report.sweep, report.best, report.base
    searched = [trial.status for trial in report.trials if not sweep.is_search or trial.kind == Kind.SEARCH]
    order = (Status.COMPLETE, Status.PRUNED, Status.FAILED, Status.RUNNING, Status.INTERRUPTED)
    counts = ", ".join(f"{searched.count(status)} {status}" for status in order if status in searched)
    _, spent = tables.cost_of(report)
    shares = {"saved": spent.saved, "wasted": spent.wasted_share}
    told = "".join(f", {words.percent(share)} {name}" for name, share in shares.items() if share > 0.005)
    difference = report.difference(best) if best else None
    return [
        (
            f"{words.number(best.score)} %" if best else typeset(words.NOTHING),
            f"best {METRIC}" + (f", {best.label}" if best else ""),
        ),
        (
            typeset(words.number(difference, "+.2f")),
            f"against the base, {words.number(base.score)} %" if base else "there is no single base to compare with",
        ),
        (f"{len(searched)} of {sweep.num_trials}", f"trials: {counts}" if counts else "trials started"),
        (_hours(spent.used), f"worker-time{told}"),
    ]


def _about(report: SweepReport) -> str:
    """Return what the sweep was asked for."""
    options, seeds = report.sweep.options, report.sweep.seeds
    how = f"search {options.search}, scheduler {in_words(options)}" if report.sweep.is_search else "tables of the paper"
    about = (
        f"Preset {options.preset}, {words.count(report.iterations, 'iteration')}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}, "
        f"{words.count(options.workers, 'worker')} per trial; {how}."
    )
    if report.costs:
        about += f" Objectives {', '.join(report.sweep.objectives)}."
    return about


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f} h" if seconds >= 36_000 else words.duration(seconds)
