"""What a sweep leaves behind: one row per trial (parquet), a ranked table (text), and the best trial's checkpoint."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, TrialState

from sweeps.search import METRIC, REFERENCE_LABEL

STATUS = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "interrupted",
}
Row = dict[str, Any]
LEADING = ("trial", "kind", "status", METRIC, "iterations", "seconds", "seed", "directory", "error")


def trials_folder(results: Path) -> Path:
    """Where each trial has a directory of its own; TensorBoard's logdir."""
    return results / "trials"


def collect(study: optuna.Study, reference: optuna.Study, *, results: Path, seed: int) -> list[Row]:
    """One row per trial that was started, the reference first, then by number.

    A row holds `LEADING`, the parameters under their dotted keys, and the last value of every other metric. The
    metrics of a trial that was pruned or failed are those of its last report.
    """
    rows = []
    for kind, source in (("reference", reference), ("search", study)):
        for trial in source.get_trials(deepcopy=False):
            if trial.state != TrialState.WAITING:
                label = REFERENCE_LABEL if kind == "reference" else f"{trial.number:04d}"
                rows.append(_row(trial, label, kind, trials_folder(results) / label, seed))
    return rows


def _row(trial: FrozenTrial, label: str, kind: str, directory: Path, seed: int) -> Row:
    metrics = dict(trial.user_attrs.get("metrics", {}))
    return {
        "trial": label,
        "kind": kind,
        "status": STATUS[trial.state],
        METRIC: metrics.pop(METRIC, None),
        "iterations": int(metrics.pop("iteration", 0)),
        "seconds": metrics.pop("seconds", None),
        "seed": seed,
        "directory": str(directory),
        "error": trial.user_attrs.get("error", ""),
        **trial.params,
        **{key: float(value) for key, value in metrics.items()},
    }


def write_parquet(rows: list[Row], path: Path) -> None:
    """Replaces `path` in one step, so that a reader never sees half a file."""
    keys = list(dict.fromkeys([*LEADING, *(key for row in rows for key in row)]))
    table = pa.table({key: [row.get(key) for row in rows] for key in keys})
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial)
    os.replace(partial, path)


def ranked(rows: list[Row]) -> list[Row]:
    """Best first: complete trials by their mIoU, then the others by how far they came."""

    def order(row: Row) -> tuple[bool, int, float, str]:
        complete = row["status"] == "complete"
        return not complete, 0 if complete else -row["iterations"], -(row[METRIC] or 0.0), row["trial"]

    return sorted(rows, key=order)


def best(rows: list[Row]) -> Row | None:
    """The complete trial of the search with the highest mIoU; the first of equals."""
    complete = [r for r in rows if r["kind"] == "search" and r["status"] == "complete"]
    return max(complete, key=lambda r: r[METRIC], default=None)


def keep_best(row: Row, target: Path) -> None:
    """Copies the trial's last checkpoint and its config to `target`, replacing what is there.

    Raises:
        FileNotFoundError: the trial has left no checkpoint.
    """
    directory = Path(row["directory"])
    checkpoints = sorted(directory.glob("checkpoint_*/checkpoint.pt"))
    if not checkpoints:
        raise FileNotFoundError(
            f"The best trial has no checkpoint: nothing matches {directory}/checkpoint_*/checkpoint.pt"
        )
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copy2(checkpoints[-1], partial / "checkpoint.pt")
    shutil.copy2(directory / "config.json", partial / "config.json")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def table(rows: list[Row], params: list[str]) -> str:
    """The ranked table: rank, trial, status, mIoU, parameters, iterations, seconds.

    Args:
        rows: of `collect`.
        params: dotted keys, a column each, headed by what follows the last dot.
    """
    head = [
        "rank",
        "trial",
        "status",
        METRIC,
        *(key.rpartition(".")[2] for key in params),
        "iterations",
        "seconds",
    ]
    body, rank = [], 0
    for row in ranked(rows):
        is_ranked = row["kind"] == "search" and row["status"] == "complete"
        rank += is_ranked
        body.append(
            [
                str(rank) if is_ranked else "-",
                row["trial"],
                row["status"],
                _number(row[METRIC], ".2f"),
                *(_number(row.get(key), ".3g") for key in params),
                str(row["iterations"]),
                _number(row["seconds"], ".0f"),
            ]
        )
    widths = [max(map(len, column)) for column in zip(head, *body)]
    left = {1, 2}
    lines = [head, ["-" * w for w in widths], *body]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def _number(value: Any, spec: str) -> str:
    if value is None:
        return "-"
    return format(value, spec) if isinstance(value, float) else str(value)
