"""The tables of a report, as data: ranking, the paper's, IoU per class, importance, cost."""

from __future__ import annotations

import statistics

from sweeps.execution.trial import forked
from sweeps.progress.plain import duration
from sweeps.reporting.data import IOU, Findings, score
from sweeps.reporting.formats import NOTHING, Cell, Table, number, signed, word
from sweeps.results import comparison
from sweeps.results.costs import Cost, in_iterations, in_seconds
from sweeps.results.rows import Row
from sweeps.search import replicates
from sweeps.search.replicates import METRIC, PARENT

_FULL_TINT = 5.0  # points of IoU at which a cell has its full color
_COSTS = {
    "seconds": "Seconds are those of the training steps, a shared warm-up's included.",
    "gpu_memory": "GPU memory is the most that tensors of a process occupied, in GiB.",
}
_FEW = 20  # complete trials; importances of fewer are a matter of chance


def short(key: str) -> str:
    """What follows the last dot of a config key."""
    return key.rpartition(".")[2]


def ranking(findings: Findings) -> Table:
    """Every trial, best first, with its parameters."""
    seeds, paper = findings.sweep.seeds, bool(findings.sweep.tables)
    population = any(PARENT in row for row in findings.trials)
    rows, rank, costs = [], 0, findings.costs
    for row in findings.trials:
        ranks = row["kind"] == "search" and row["status"] == "complete"
        rank += ranks
        rows.append(
            [
                number(rank, "d") if ranks else NOTHING,
                Cell(row["trial"]),
                Cell(row["status"]),
                *([Cell(findings.belongs_to(row))] if paper else []),
                *([Cell("*" if row in findings.front else "")] if costs else []),
                *([Cell(replicates.ancestry(row)) if PARENT in row else NOTHING] if population else []),
                number(score(row), strong=row is findings.best),
                *(number(row["means"].get(name), ".1f") for name in costs),
                *([number(_std(row)), number(len(row["values"]), "d")] if len(seeds) > 1 else []),
                number(findings.difference(row), "+.2f"),
                *(word(row.get(key)) for key in findings.params),
                number(row["iterations"], "d"),
                _time(row["seconds"]),
            ]
        )
    caption = (
        f"All trials by {METRIC} in percent, complete ones first. The score of a trial that is running, or was "
        "pruned, failed or interrupted, is that of its last evaluation."
    )
    if len(seeds) > 1:
        caption += f" Means over seeds {', '.join(map(str, seeds))}; differences to the base are taken seed by seed."
    if costs:
        caption += f" A star marks the front of {', '.join(findings.sweep.objectives)}, which comes first."
    head = [
        "rank",
        "trial",
        "status",
        *(["of the paper"] if paper else []),
        *(["front"] if costs else []),
        *(["child of"] if population else []),
        METRIC,
        *costs,
        *(["std", "seeds"] if len(seeds) > 1 else []),
        "vs base",
        *map(short, findings.params),
        "iterations",
        "time",
    ]
    left = frozenset({1, 2, 3} if paper or costs or population else {1, 2})
    return Table(name="ranking", caption=caption, head=head, rows=rows, left=left)


def pareto(findings: Findings) -> Table | None:
    """The front of several objectives."""
    if not findings.front:
        return None
    names, seeds = findings.sweep.objectives, len(findings.sweep.seeds)
    rows = [
        [
            Cell(row["trial"]),
            *(number(row["means"].get(name)) for name in names),
            number(findings.difference(row), "+.2f"),
            *(word(row.get(key)) for key in findings.params),
        ]
        for row in findings.front
    ]
    return Table(
        name="pareto",
        caption=f"The front: complete trials of the search that no other one beats on {' and '.join(names)} together. "
        + (f"Means over {seeds} seeds. " if seeds > 1 else "")
        + " ".join(_COSTS[name] for name in findings.costs),
        head=["trial", *names, "vs base", *map(short, findings.params)],
        rows=rows,
    )


def paper(findings: Findings) -> list[Table]:
    """The paper's tables that were run, ours beside theirs."""
    seeds, found = findings.sweep.seeds, []
    for i, table in enumerate(findings.sweep.tables):
        head, *body = comparison.cells(table, comparison.compare(table, findings.rows), seeds)
        found.append(
            Table(
                name=f"paper-{i}-{table.number}",
                caption=f"{comparison.title(table)}. {table.note}".strip(),
                head=[head[0], *map(signed, head[1:])],
                rows=[[Cell(label), *(Cell(signed(text)) for text in cells)] for label, *cells in body],
            )
        )
    return found


def failures(findings: Findings) -> Table | None:
    """The runs that failed, and why."""
    failed = [row for row in findings.runs if row["status"] == "failed"]
    if not failed:
        return None
    return Table(
        name="failures",
        caption="What failed.",
        head=["trial", "at iteration", "error"],
        rows=[[Cell(row["trial"]), number(row["iterations"], "d"), Cell(row["error"])] for row in failed],
        left=frozenset({0, 2}),
    )


def per_class(findings: Findings) -> Table | None:
    """IoU of each class in each complete trial, painted by its difference to the base."""
    rows = [row for row in findings.trials if row["status"] == "complete"]
    if not rows or not findings.classes:
        return None
    base = findings.base
    keys = [METRIC, *(f"{IOU}{name}" for name in findings.classes)]
    return Table(
        name="classes",
        caption="IoU per class in percent, complete trials, best first."
        + (f" Blue is better than the base, orange worse; full color at {_FULL_TINT:g} points." if base else ""),
        head=["trial", METRIC, *findings.classes],
        rows=[[Cell(row["trial"], strong=row is base), *(_class_cell(row, key, base) for key in keys)] for row in rows],
    )


def importance(findings: Findings) -> Table | None:
    """What sets the best trials apart."""
    if not findings.importances:
        return None
    num, largest = len(findings.complete), max(findings.importances.values()) or 1.0
    return Table(
        name="importance",
        caption=f"Importance of each parameter (PED-ANOVA, as Optuna computes it) over {num} complete trials."
        + (" So few trials give a hint at most." if num < _FEW else ""),
        head=["parameter", "importance"],
        rows=[
            [Cell(short(key)), number(share)._replace(bar=share / largest)]
            for key, share in findings.importances.items()
        ],
    )


def cost_of(findings: Findings) -> tuple[Cost, Cost]:
    """What the sweep has cost and what it has not, in iterations and in worker-seconds."""
    # The folder may be of a time when rows did not say it.
    rows = [{**row, **forked(findings.directory(row))} for row in findings.runs]
    sweep = findings.sweep
    iterations, seconds = (f(rows, sweep.iterations, len(sweep.seeds)) for f in (in_iterations, in_seconds))
    return iterations, seconds.times(sweep.flags["workers"])


def cost(findings: Findings) -> Table:
    """What the sweep has cost and what it has not, in worker-time."""
    (iterations, found), workers = cost_of(findings), findings.sweep.flags["workers"]
    lines = [
        ("used", found.used, iterations.used),
        ("wasted of it", found.wasted, iterations.wasted),
        ("saved by warm-up", found.warm_up, iterations.warm_up),
        *([("saved by children", found.inherited, iterations.inherited)] if iterations.inherited else []),
        ("saved by pruning", found.pruning, iterations.pruning),
        ("all to the end", found.total, iterations.total),
    ]
    rows = []
    for name, value, count in lines:
        share = value / found.total if found.total else 0.0
        rows.append(
            [
                Cell(name),
                _time(value),
                number(value, ".0f"),
                number(100 * share, ".0f")._replace(bar=share),
                number(count, ".0f"),
            ]
        )
    shares = f"{100 * found.wasted_share:.0f} % of the time used ({100 * iterations.wasted_share:.0f} % of iterations)"
    return Table(
        name="cost",
        caption=f"Time of training, times {workers} worker{'s' if workers > 1 else ''} per trial, without evaluations "
        "and without what an interruption has lost. A warm-up is counted once, also where an earlier sweep has trained "
        f"it. {shares} went into trials that did not end complete. What pruning saves is an estimate: each trial that "
        "was given up would have gone on at its own pace.",
        head=["", "worker-time", "worker-seconds", "share in %", "iterations"],
        rows=rows,
    )


def _class_cell(row: Row, key: str, base: Row | None) -> Cell:
    value, other = row.get(key), base.get(key) if base else None
    tint = None if value is None or other is None else (value - other) / _FULL_TINT
    return number(value, ".2f" if key == METRIC else ".1f", tint=tint)


def _std(row: Row) -> float | None:
    values = list(row["values"].values())
    return statistics.stdev(values) if len(values) > 1 else None


def _time(seconds: float | None) -> Cell:
    return NOTHING if seconds is None else Cell(duration(seconds), float(seconds))
