"""The columns of a ranked table of trials, on the terminal and in the report, and the table of the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweeps.common.names import METRIC
from sweeps.common.words import NOTHING, short
from sweeps.definition.objectives import COSTS
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.estimates.spread import mean_std_text
from sweeps.results import tables
from sweeps.results.rows import Row
from sweeps.results.summaries import Summary, ranked
from sweeps.results.tables import EMPTY, Column, Table, to_text


def terminal_table(
    rows: Sequence[Row],
    params: Sequence[str],
    num_seeds: int = 1,
    objectives: Sequence[str] = (METRIC,),
    selection: Selection = BY_MIOU,
) -> str:
    """Return the ranked table as text: rank, trial, status, score, parameters, iterations, seconds.

    With several seeds the score is mean ± standard deviation, and beside it stands the difference to the reference,
    which is taken seed by seed, with its interval as one of all that are compared, see
    :mod:`sweeps.estimates.differences`. With several objectives the front comes first, marked by a star, and the other
    objectives, means over the seeds, stand beside the score. Where trials are chosen without labels, and there are
    labels all the same, mIoU stands there, too. Where there are children it says whose.

    Args:
        rows: Rows of the sweep.
        params: Dotted config keys, a column each.
        num_seeds: Number of seeds of every trial.
        objectives: Names of the objectives.
        selection: What trials are chosen by.
    """
    trials = ranked(rows, selection)
    several, costs = num_seeds > 1, [name for name in objectives if name in COSTS]

    def score(trial: Summary) -> tables.Cell:
        if several and trial.values:
            return tables.figures(mean_std_text(trial.values, num_seeds, digits=selection.digits))
        return tables.number(trial.score, selection.spec)

    columns = [
        *leading_columns(trials, has_front=bool(costs)),
        Column[Summary](selection.name, score),
        *oracle(trials, selection),
        *map(objective, costs),
        *([Column("- base", _difference)] if several else []),
        *map(param, params),
        iterations(),
        *([] if "seconds" in costs else [Column("seconds", lambda trial: tables.number(trial.seconds, ".0f"))]),
    ]
    return to_text(Table.of("ranking", "", columns, trials))


def leading_columns(
    trials: Sequence[Summary], *, has_front: bool, paper: Callable[[Summary], str] | None = None
) -> list[Column[Summary]]:
    """Return the first columns: rank, trial and status, and what the trial belongs to.

    Args:
        trials: The trials, best first.
        has_front: Whether there are several objectives, so that a star marks the front.
        paper: Function that gives the rows of the paper's tables that a trial stands for; None outside of them.
    """
    ranks = {trial.label: rank for rank, trial in enumerate((t for t in trials if t.is_ranked), start=1)}
    columns: list[Column[Summary]] = [
        Column("rank", lambda trial: tables.number(ranks.get(trial.label), "d")),
        Column("trial", lambda trial: tables.word(trial.label), left=True),
        Column("status", lambda trial: tables.word(trial.status.value), left=True),
    ]
    if paper is not None:
        columns.append(Column("of the paper", lambda trial: tables.word(paper(trial)), left=True))
    if has_front:
        columns.append(Column("front", lambda trial: tables.word("*" if trial.pareto else ""), left=True))
    if any(trial.parent for trial in trials):
        columns.append(
            Column("child of", lambda trial: tables.word(str(trial.parent)) if trial.parent else EMPTY, left=True)
        )
    return columns


def oracle(trials: Sequence[Summary], selection: Selection) -> list[Column[Summary]]:
    """Return the column of mIoU, where trials are chosen by something else and the target has labels all the same."""
    if selection.needs_labels or all(trial.miou is None for trial in trials):
        return []
    return [Column(f"{METRIC} (not used)", lambda trial: tables.number(trial.miou))]


def objective(name: str) -> Column[Summary]:
    """Return the column of an objective beside mIoU, a mean over the seeds."""
    return Column(name, lambda trial: tables.number(trial.means.get(name), ".1f"))


def param(key: str) -> Column[Summary]:
    """Return the column of a parameter, headed by its short name."""
    return Column(short(key), lambda trial: tables.param(trial.params.get(key)))


def iterations() -> Column[Summary]:
    """Return the column of the iterations that a trial's best run has come to."""
    return Column("iterations", lambda trial: tables.number(trial.iterations, "d"))


def _difference(trial: Summary) -> tables.Cell:
    return tables.figures(str(trial.difference) if trial.difference else NOTHING)
