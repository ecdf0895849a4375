"""The end of a sweep: its last results, its table, and where everything is."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from pgpc.runtime.display import printable
from sweeps.common.names import Kind, Status
from sweeps.definition.folder import RESULTS_FILE
from sweeps.definition.paper_tables import ENCODERS, INFERENCE
from sweeps.definition.paper_tables import Table as PaperTable
from sweeps.definition.sweep import Sweep
from sweeps.execution.capacity.checkpoints import kept_at_end, remove_at_end
from sweeps.execution.inference_speed import inference_rate
from sweeps.findings import ensemble
from sweeps.findings.comparison import Line, beside_paper, compare, title
from sweeps.findings.confirmation import read_confirmation
from sweeps.progress.plain import Terminal
from sweeps.reporting import IMAGES
from sweeps.reporting.headline import Headline, find, headline
from sweeps.reporting.write import attempt, write_text
from sweeps.results import costs
from sweeps.results.costs import Cost
from sweeps.results.outcome import Results
from sweeps.results.ranking import terminal_table
from sweeps.results.rows import Row, last_checkpoint, write_parquet
from sweeps.results.summaries import Summary, about_best, best_trial, front, is_unfinished, keep_best, summaries
from sweeps.results.tables import to_markdown, to_text
from sweeps.search.study import study_url

SPEED_TABLE = 5
"""Number of the paper's table that needs a measurement after the trainings."""


class Compared(NamedTuple):
    """A table of the paper that was run.

    Attributes:
        table: The table.
        lines: Its rows as they came out.
    """

    table: PaperTable
    lines: list[Line]


class Costs(NamedTuple):
    """What the sweep has cost.

    Attributes:
        iterations: In iterations.
        seconds: In seconds of training.
    """

    iterations: Cost
    seconds: Cost


def finish(sweep: Sweep, rows: Sequence[Row], signals: Sequence[int], terminal: Terminal, answer: TextIO) -> int:
    """Write the last results and say where everything is.

    Args:
        sweep: The sweep.
        rows: Rows of its runs.
        signals: Numbers of the signals that have stopped it; none where it has come to its end.
        terminal: Where to say it.
        answer: Where the JSON document goes, if it is asked for.

    Returns:
        The exit code: 0, 1 if every trial failed, or 128 plus the signal.
    """
    # Where something is left to train, the time is up or the user in a hurry: what takes long waits for the rest.
    is_over = not signals and not is_unfinished(sweep, summaries(rows, sweep.selection))
    if SPEED_TABLE in (sweep.options.table or ()) and is_over:
        rows = measure_inference(rows)
    write_parquet(rows, sweep.folder / RESULTS_FILE)
    if is_over:
        rows = ensemble.at_the_end(sweep, rows, terminal.write)
        write_parquet(rows, sweep.folder / RESULTS_FILE)
    elif ensemble.is_possible(sweep, rows):
        terminal.write(ensemble.put_off(sweep))
    attempt(sweep.report_folder, terminal.say, images=0 if signals else IMAGES)
    best = _keep_best(sweep, rows)
    trials = summaries(rows, sweep.selection)
    compared = [Compared(table, compare(table, rows, sweep.selection)) for table in sweep.tables]
    terminal.write(f"\n{_tables_text(sweep, rows, compared)}\n")
    for trial in trials:
        if trial.status == Status.FAILED:
            terminal.write(f"{trial.label} failed: {trial.error}")
    places = _places(sweep, trials, has_best=best is not None)
    terminal.write("\n".join(f"{name:<7} {place}" for name, place in places.items()))
    if best is not None:
        terminal.write(about_best(best, sweep.selection))
    result = _result(sweep, trials)
    terminal.write("\n".join([*_changes(sweep), result.text]))
    _remove_checkpoints(sweep, rows, best, is_over=is_over)
    spent = _costs(sweep, rows)
    terminal.write(costs.summary(*spent, sweep.num_workers, [trial.status for trial in trials]))
    if sweep.options.json:
        document = _document(sweep, rows, best.run if best else None, compared, spent, places, result)
        print(json.dumps(without_nan(document), indent=2), file=answer, flush=True)
    if signals:
        return 128 + signals[0]
    searched = [trial for trial in trials if trial.kind == Kind.SEARCH or not sweep.is_search]
    return 1 if searched and all(trial.status == Status.FAILED for trial in searched) else 0


def measure_inference(rows: Sequence[Row]) -> list[Row]:
    """Measure the column of Table 5 that no training reports, one run after the other, with nothing beside it.

    Returns:
        All rows, those of complete runs of Table 5 with the frames per second as a metric.
    """
    rates: dict[str, float] = {}
    measured = []
    for row in rows:
        checkpoint = last_checkpoint(row.directory)
        if row.paper and row.paper.table == SPEED_TABLE and row.status == Status.COMPLETE and checkpoint:
            if row.label not in rates:
                rates[row.label] = inference_rate(checkpoint)
            row = dataclasses.replace(row, metrics={**row.metrics, INFERENCE: rates[row.label]})
        measured.append(row)
    return measured


def write_tables(sweep: Sweep, compared: Sequence[Compared]) -> str:
    """Write table-N.md for each number of a table, and return all tables as text."""
    texts: list[str] = []
    pages: dict[int, list[str]] = {}
    for table, lines in compared:
        cells, note = beside_paper(table, lines, sweep.seeds, sweep.selection), f"\n\n{table.notes}" * bool(table.notes)
        heading = title(table)
        texts.append(f"{heading}\n{to_text(cells)}{note}")
        pages.setdefault(table.number, []).append(f"## {heading}\n\n{to_markdown(cells, plain=True)}{note}\n")
    for number, parts in pages.items():
        parts += [f"Note. {sentence}\n" for sentence in _changes(sweep)]
        name = "encoders" if number == ENCODERS else number
        write_text(sweep.folder / f"table-{name}.md", "\n".join(parts))
    return "\n\n".join(texts)


def without_nan(tree: Any) -> Any:
    """Return plain data with None for the numbers that JSON does not know."""
    if isinstance(tree, dict):
        return {str(key): without_nan(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _keep_best(sweep: Sweep, rows: Sequence[Row]) -> Summary | None:
    """Copy the best trial's checkpoint to the sweep's folder; return the trial, or None where there is none to keep."""
    best = best_trial(rows, sweep.selection) if sweep.is_search else None
    if best is None:
        return None
    try:
        keep_best(best, sweep.folder / "best", sweep.selection)
    except FileNotFoundError as error:
        print(printable(str(error)), file=sys.stderr)
        return None
    return best


def _remove_checkpoints(sweep: Sweep, rows: Sequence[Row], best: Summary | None, *, is_over: bool) -> None:
    """Remove the checkpoints that the sweep does not keep, those of trials that have ended well at its very end."""
    keep, kept = sweep.options.keep, None
    if best is not None and is_over:
        kept = kept_at_end(keep, best.label, rows)
    remove_at_end(rows, keep, kept)


def _result(sweep: Sweep, trials: Sequence[Summary]) -> Headline:
    """Return what the sweep has shown; a confirmation tells what the sweep that it confirms has."""
    if not sweep.confirms:
        return headline(find(sweep, trials, read_confirmation(sweep.folder)))
    confirmed = Results.read(sweep.report_folder)
    return headline(find(confirmed.sweep, confirmed.trials, read_confirmation(sweep.report_folder)))


def _changes(sweep: Sweep) -> tuple[str, ...]:
    """Return what has changed from one driver to the next, this one included, which sweep.json tells."""
    return Sweep.load(sweep.folder).changes if sweep.file.is_file() else ()


def _tables_text(sweep: Sweep, rows: Sequence[Row], compared: Sequence[Compared]) -> str:
    if compared:
        return write_tables(sweep, compared)
    params = dict.fromkeys(key for row in rows for key in row.params) if sweep.confirms else sweep.space
    return terminal_table(rows, list(params), len(sweep.seeds), sweep.objectives, sweep.selection)


def _places(sweep: Sweep, trials: Sequence[Summary], *, has_best: bool) -> dict[str, str]:
    """Return where everything is, and how to resume the sweep where there is something left."""
    places = {
        "report": sweep.report_folder / "report.html",
        "rows": sweep.folder / RESULTS_FILE,
        "tables": sweep.folder / "table-*.md" if sweep.tables else None,
        "curves": sweep.watch_command,
        "study": study_url(sweep.folder),
        "best": sweep.folder / "best" / "checkpoint.pt" if has_best else None,
        "resume": sweep.resume_command if is_unfinished(sweep, trials) else None,
    }
    return {name: str(place) for name, place in places.items() if place}


def _costs(sweep: Sweep, rows: Sequence[Row]) -> Costs:
    def planned(row: Row) -> int:
        return sweep.iterations(row.params)

    num_seeds = len(sweep.seeds)
    return Costs(costs.in_iterations(rows, planned, num_seeds), costs.in_seconds(rows, planned, num_seeds))


def _document(
    sweep: Sweep,
    rows: Sequence[Row],
    best: Row | None,
    compared: Sequence[Compared],
    spent: Costs,
    places: Mapping[str, str],
    result: Headline,
) -> dict[str, Any]:
    """Return all that the command answers with ``--json``, as plain data."""
    return {
        "sweep": sweep.folder.name,
        "select_by": sweep.selection.text,
        "result": result.text,
        "claims": list(result.claims),
        "changes": list(_changes(sweep)),
        "best": best.to_columns() if best else None,
        "pareto": front(rows, sweep.space, sweep.objectives, sweep.selection),
        "rows": [row.to_columns() for row in rows],
        "tables": [
            {
                "table": table.number,
                "title": table.title,
                "metric": table.metric,
                "rows": [line.as_dict() for line in lines],
            }
            for table, lines in compared
        ],
        "cost": costs.as_dict(*spent, sweep.num_workers),
        "places": dict(places),
    }
