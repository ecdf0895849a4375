"""What a sweep leaves behind: one row per run (parquet), a ranked table (text), and the best trial's checkpoint.

A run is the training of one trial with one seed, so with several seeds a trial has several rows. "trial" is the run's
own label, which is also the name of its directory: 0003, or 0003-s1 with several seeds; "point" is that of the trial
in the study: 0003; "status" is what became of the run, "outcome" what became of the trial. In a sweep of the paper's
tables "table" and "row" say which row the run belongs to; a run that belongs to several is repeated for each.
"pareto" is whether the trial is on the front of the search's complete trials; None where there is one objective.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, TrialState

from pgpc.runtime.files import write_file
from sweeps.definition import objectives
from sweeps.search import replicates
from sweeps.results.comparison import Spread, as_text, number, paired, spread
from sweeps.search.replicates import METRIC, REFERENCE_LABEL
from sweeps.execution.trial import forked

STATUS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
RUNNING, INTERRUPTED = "running", "interrupted"
Row = dict[str, Any]
LEADING = (
    "trial", "kind", "status", METRIC, "iterations", "seconds", "seed", "directory", "error", "point", "outcome",
    "pareto",
)


def trials_folder(results: Path) -> Path:
    """Where each run has a directory of its own; TensorBoard's logdir."""
    return results / "trials"


def collect(
    study: optuna.Study, reference: optuna.Study | None, *, results: Path, seeds: Sequence[int], alive: bool = False
) -> list[Row]:
    """One row per run that was started, the reference first, then by the trial's number and in the order of the seeds.

    A row holds `LEADING`, what its warm-up spared it (see `sweeps.execution.trial.forked`), its parent if it has one (see
    `sweeps.search.replicates.lineage`), the parameters under their dotted keys, and the last value of every other metric. The
    metrics of a run that was pruned or failed are those of its last report. A run that has not ended is "running" while
    the sweep is `alive`, and else "interrupted".
    """
    rows, several = [], len(study.directions) > 1
    front = _front(study) if several else set()
    for kind, source in (("reference", reference), ("search", study)):
        for trial in source.get_trials(deepcopy=False) if source else []:
            if trial.state != TrialState.WAITING and replicates.is_own(trial):
                point = REFERENCE_LABEL if kind == "reference" else f"{trial.number:04d}"
                rows += [
                    _row(trial, point, kind, trials_folder(results), seed, seeds, alive) | {
                        "pareto": point in front if several else None
                    }
                    for seed in seeds
                    if len(seeds) == 1 or replicates.status(trial, seed, seeds)
                ]
    return rows


def _row(trial: FrozenTrial, point: str, kind: str, trials: Path, seed: int, seeds: Sequence[int], alive: bool) -> Row:
    metrics = replicates.metrics(trial, seed, seeds)
    label = point + replicates.suffix(seed, seeds)
    unfinished = RUNNING if alive else INTERRUPTED
    outcome = STATUS.get(trial.state, unfinished)
    own = replicates.status(trial, seed, seeds)
    return {
        "trial": label,
        "kind": kind,
        "status": outcome if len(seeds) == 1 else unfinished if own == replicates.RUNNING else own,
        METRIC: metrics.pop(METRIC, None),
        "iterations": int(metrics.pop("iteration", 0)),
        "seconds": metrics.pop("seconds", None),
        "seed": seed,
        "directory": str(trials / label),
        "error": replicates.error(trial, seed, seeds),
        "point": point,
        "outcome": outcome,
        **forked(trials / label),
        **replicates.lineage(trial),
        **trial.params,
        **{key: float(value) for key, value in metrics.items()},
    }


def _front(study: optuna.Study) -> set[str]:
    """Labels of the sweep's own trials that no other one of them dominates; the study's front may hold earlier ones."""
    own = (t for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if replicates.is_own(t))
    directions = [direction.name.lower() for direction in study.directions]
    return objectives.front({f"{trial.number:04d}": trial.values for trial in own}, directions)


def write_parquet(rows: list[Row], path: Path) -> None:
    """Replaces `path` in one step, so that a reader never sees half a file."""
    keys = list(dict.fromkeys([*LEADING, *(key for row in rows for key in row)]))
    table = pa.table({key: [row.get(key) for row in rows] for key in keys})
    write_file(path, lambda file: pq.write_table(table, file))


def summaries(rows: Sequence[Row]) -> list[Row]:
    """One row per trial out of those of its runs, the reference first.

    A summary is the row of the trial's best run with "trial" set to the trial's label, "status" to its outcome, the
    mean over the seeds as mIoU, and the sum of the seconds; and beside these "values" and "to_base", mIoU by seed and
    the differences to the reference seed by seed, and "means", of each other objective that was reported over its
    complete runs. A trial that is not complete has the mean of what there is.
    """
    points: dict[str, list[Row]] = {}
    for row in rows:
        runs = points.setdefault(row.get("point", row["trial"]), [])
        if row["trial"] not in [run["trial"] for run in runs]:
            runs.append(row)
    scores = {point: _scores(runs) for point, runs in points.items()}
    base = scores.get(REFERENCE_LABEL, {})
    summed = []
    for point, runs in points.items():
        best_run = max(runs, key=lambda row: (row["status"] == "complete", row[METRIC] or 0.0))
        known = list(scores[point].values())
        seconds = [row["seconds"] for row in runs if row["seconds"] is not None]
        summed.append(
            {
                **best_run,
                "trial": point,
                "status": best_run.get("outcome", best_run["status"]),
                METRIC: Spread.of(known).mean if known else best_run[METRIC],
                "seconds": sum(seconds) if seconds else None,
                "error": next((row["error"] for row in runs if row["error"]), ""),
                "values": scores[point],
                "means": _means([run for run in runs if run["status"] == "complete"]),
                "to_base": {} if point == REFERENCE_LABEL else paired(scores[point], base),
            }
        )
    return summed


def _scores(runs: Sequence[Row]) -> dict[int, float]:
    # A trial that somebody else has added to the study has no metrics.
    return {row["seed"]: row[METRIC] for row in runs if row["status"] == "complete" and row[METRIC] is not None}


def _means(runs: Sequence[Row]) -> dict[str, float]:
    found = {name: [run[name] for run in runs if run.get(name) is not None] for name in objectives.DIRECTIONS}
    return {name: statistics.fmean(values) for name, values in found.items() if values}


def front(rows: Sequence[Row], params: Iterable[str], names: Sequence[str]) -> list[dict[str, Any]] | None:
    """The trials on the front, that with the highest mIoU first, as plain data; None where there is one objective.

    Args:
        rows: of `collect`.
        params: dotted keys.
        names: of the objectives.
    """
    if len(names) == 1:
        return None
    return [
        {
            "trial": row["trial"],
            "objectives": {name: row["means"].get(name) for name in names},
            "params": {key: row[key] for key in params if row.get(key) is not None},
        }
        for row in ranked(rows)
        if row["pareto"]
    ]


def without_nan(tree: Any) -> Any:
    """Plain data with None for numbers that JSON does not know."""
    if isinstance(tree, dict):
        return {str(key): without_nan(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Summaries, best first: the front, then other complete trials, by their mIoU; then the rest by how far it came."""

    def order(row: Row) -> tuple[bool, bool, int, float, str]:
        complete = row["status"] == "complete"
        how_far = 0 if complete else -row["iterations"]
        return not complete, not row.get("pareto"), how_far, -(row[METRIC] or 0.0), row["trial"]

    return sorted(summaries(rows), key=order)


def best(rows: Sequence[Row]) -> Row | None:
    """The best run, of the complete trial of the search with the highest mean mIoU; the first of equals."""
    complete = [
        r for r in summaries(rows) if r["kind"] == "search" and r["status"] == "complete" and r[METRIC] is not None
    ]
    trial = max(complete, key=lambda r: r[METRIC], default=None)
    if trial is None:
        return None
    runs = [row for row in rows if row.get("point", row["trial"]) == trial["trial"]]
    return max(runs, key=lambda row: row[METRIC] or 0.0)


def last_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint of a run, where it has left one."""
    return max(directory.glob("checkpoint_*/checkpoint.pt"), default=None)


def keep_best(row: Row, target: Path) -> None:
    """Copies the trial's last checkpoint and its config to `target`, replacing what is there.

    Raises:
        FileNotFoundError: the trial has left no checkpoint.
    """
    directory = Path(row["directory"])
    checkpoint = last_checkpoint(directory)
    if checkpoint is None:
        raise FileNotFoundError(
            f"The best trial has no checkpoint: nothing matches {directory}/checkpoint_*/checkpoint.pt"
        )
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copy2(checkpoint, partial / "checkpoint.pt")
    shutil.copy2(directory / "config.json", partial / "config.json")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def table(
    rows: Sequence[Row], params: Sequence[str], num_seeds: int = 1, names: Sequence[str] = (METRIC,)
) -> str:
    """The ranked table: rank, trial, status, mIoU, parameters, iterations, seconds.

    With several seeds mIoU is mean ± standard deviation, and beside it stands the difference to the reference, which is
    taken seed by seed. With several objectives the front comes first, marked by a star, and the other objectives, means
    over the seeds, stand beside mIoU. Where there are children it says whose.

    Args:
        rows: of `collect`.
        params: dotted keys, a column each, headed by what follows the last dot.
        num_seeds: of every trial.
        names: of the objectives.
    """
    several, others = num_seeds > 1, [name for name in names if name != METRIC]
    total = [] if "seconds" in others else ["seconds"]
    children = any(replicates.PARENT in row for row in rows)
    head = [
        "rank",
        "trial",
        "status",
        *(["front"] if others else []),
        *(["child of"] if children else []),
        METRIC,
        *others,
        *(["- base"] if several else []),
        *(key.rpartition(".")[2] for key in params),
        "iterations",
        *total,
    ]
    body, rank = [], 0
    for row in ranked(rows):
        is_ranked = row["kind"] == "search" and row["status"] == "complete"
        rank += is_ranked
        score = spread(row["values"], num_seeds) if several and row["values"] else number(row[METRIC])
        body.append(
            [
                str(rank) if is_ranked else "-",
                row["trial"],
                row["status"],
                *(["*" if row["pareto"] else ""] if others else []),
                *([replicates.ancestry(row)] if children else []),
                score,
                *(_number(row["means"].get(name), ".1f") for name in others),
                *([spread(row["to_base"], num_seeds, signed=True)] if several else []),
                *(_number(row.get(key), ".3g") for key in params),
                str(row["iterations"]),
                *(_number(row[name], ".0f") for name in total),
            ]
        )
    return as_text([head, *body], left=(1, 2, 3) if children else (1, 2))


def _number(value: Any, spec: str) -> str:
    if value is None:
        return "-"
    return format(value, spec) if isinstance(value, float) else str(value)
