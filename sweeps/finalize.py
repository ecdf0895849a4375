"""The end of a sweep: its last results, its table, and where everything is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

from pgpc.runtime.files import write_file
from sweeps import report
from sweeps.definition.paper_tables import INFERENCE, Table
from sweeps.definition.sweep import Sweep
from sweeps.execution.inference_speed import inference_rate
from sweeps.progress.plain import Terminal
from sweeps.results import comparison, costs
from sweeps.results import rows as results
from sweeps.search.study import study_url


def finish(sweep: Sweep, rows: list[results.Row], signals: list[int], terminal: Terminal, answer: TextIO) -> int:
    """Writes the last results and says where everything is; returns the exit code."""
    if 5 in (sweep.flags["table"] or []) and not signals:
        measure_inference(rows)
    results.write_parquet(rows, sweep.folder / "results.parquet")
    report.attempt(sweep.folder, terminal.say, images=0 if signals else report.IMAGES)
    best = None if sweep.points else results.best(rows)
    if best:
        try:
            results.keep_best(best, sweep.folder / "best")
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            best = None
    trials = results.summaries(rows)
    searched = [row for row in trials if row["kind"] == "search" or sweep.points]
    failed = [row for row in trials if row["status"] == "failed"]
    found = [(table, comparison.compare(table, rows)) for table in sweep.tables]
    text = (
        write_tables(sweep, found)
        if found
        else results.table(rows, list(sweep.space), len(sweep.seeds), sweep.objectives)
    )
    terminal.write(f"\n{text}\n")
    for row in failed:
        terminal.write(f"{row['trial']} failed: {row['error']}")
    places = {
        "report": sweep.folder / "report.html",
        "rows": sweep.folder / "results.parquet",
        "tables": sweep.folder / "table-*.md" if found else None,
        "curves": f"tensorboard --logdir {results.trials_folder(sweep.folder)}",
        "study": study_url(sweep.folder),
        "best": sweep.folder / "best" / "checkpoint.pt" if best else None,
        "resume": sweep.resume_command if sweep.is_unfinished(trials) else None,
    }
    places = {name: str(place) for name, place in places.items() if place}
    terminal.write("\n".join(f"{name:<7} {place}" for name, place in places.items()))
    spent = [f(rows, sweep.iterations, len(sweep.seeds)) for f in (costs.in_iterations, costs.in_seconds)]
    terminal.write(costs.summary(*spent, sweep.flags["workers"]))
    if sweep.flags["json"]:
        cost = costs.as_dict(*spent, sweep.flags["workers"])
        tables = [
            {"table": table.number, "title": table.title, "metric": table.metric, "rows": [x.as_dict() for x in lines]}
            for table, lines in found
        ]
        document = {
            "sweep": sweep.folder.name,
            "best": best,
            "pareto": results.front(rows, sweep.space, sweep.objectives),
            "rows": rows,
            "tables": tables,
            "cost": cost,
            "places": places,
        }
        print(json.dumps(results.without_nan(document), indent=2), file=answer, flush=True)
    if signals:
        return 128 + signals[0]
    return 1 if searched and all(row["status"] == "failed" for row in searched) else 0


def measure_inference(rows: list[results.Row]) -> None:
    """Adds the column of Table 5 that no training reports, one run after the other, with nothing beside it."""
    rates: dict[str, float] = {}
    for row in rows:
        checkpoint = results.last_checkpoint(Path(row["directory"]))
        if row["table"] == 5 and row["status"] == "complete" and checkpoint:
            rates[row["trial"]] = rates.get(row["trial"]) or inference_rate(checkpoint)
            row[INFERENCE] = rates[row["trial"]]


def write_tables(sweep: Sweep, found: list[tuple[Table, list[comparison.Line]]]) -> str:
    """Writes table-N.md for each number and returns all tables as text."""
    texts: list[str] = []
    pages: dict[int, list[str]] = {}
    for table, lines in found:
        cells, note = comparison.cells(table, lines, sweep.seeds), f"\n\n{table.note}" * bool(table.note)
        heading = comparison.title(table)
        texts.append(f"{heading}\n{comparison.as_text(cells)}{note}")
        pages.setdefault(table.number, []).append(f"## {heading}\n\n{comparison.as_markdown(cells)}{note}\n")
    for number, parts in pages.items():
        page = "\n".join(parts).encode()
        write_file(sweep.folder / f"table-{number}.md", lambda file, page=page: file.write(page))
    return "\n\n".join(texts)
