"""What the confirmation of a sweep has come to; see :mod:`sweeps.definition.confirmation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpc.runtime.files import write_file
from sweeps.common.names import METRIC, REFERENCE_LABEL, REPORT_METRIC, Status
from sweeps.definition.folder import CONFIRMATION, SWEEP_FILE
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.estimates.differences import Difference, compare_all
from sweeps.estimates.spread import Spread, Values, paired
from sweeps.results.outcome import Results
from sweeps.results.rows import Row
from sweeps.results.scores import run_scores

CONFIRMATION_FILE = "confirmation.parquet"
"""Name of the file of these results in the folder of the sweep that is confirmed."""


@dataclass(frozen=True, kw_only=True)
class ConfirmedTrial:
    """A trial that was trained anew.

    Attributes:
        label: Its label in the sweep that is confirmed.
        values: Fresh seed -> score of the run that is complete.
        difference: Its difference to the base seed by seed, as one of all trials that are confirmed.
    """

    label: str
    values: Values
    difference: Difference


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What the fresh runs of the best trials of a sweep, and of its base, have come to.

    Attributes:
        metric: Name of the score: mIoU on the images that took no part in the choice, where there are such, else mIoU
            where the target has labels, and else what trials are chosen by.
        unit: Its unit, to follow a number; "" for one without.
        seeds: The fresh seeds.
        base: Fresh seed -> score of the base.
        trials: The trials in the order of the choice, the best first.
        is_complete: Whether every run has ended. Before, nothing may be claimed: to stop at the moment when the
            interval happens to leave out 0 would be one more choice.
        resume_command: What to type to go on with it.
    """

    metric: str
    unit: str
    seeds: tuple[int, ...]
    base: Values
    trials: tuple[ConfirmedTrial, ...]
    is_complete: bool
    resume_command: str

    @property
    def effects(self) -> list[ConfirmedTrial]:
        """The trials of which an effect may be claimed: the confirmation is complete, and their interval excludes 0."""
        return [trial for trial in self.trials if trial.difference.is_effect] if self.is_complete else []


def read_confirmation(folder: Path) -> Confirmation | None:
    """Return the confirmation of the sweep in a folder; None where none was begun.

    Raises:
        ValueError: A file of it is damaged.
    """
    if not (folder / CONFIRMATION / SWEEP_FILE).is_file():
        return None
    results = Results.read(folder / CONFIRMATION)
    sweep = results.sweep
    return confirmation(results.rows, list(sweep.confirms), sweep.seeds, sweep.resume_command, sweep.selection)


def confirmation(
    rows: Sequence[Row],
    labels: Sequence[str],
    seeds: Sequence[int],
    resume_command: str,
    selection: Selection = BY_MIOU,
) -> Confirmation:
    """Return what runs of a confirmation have come to.

    Args:
        rows: Rows of the runs, which bear the labels of the trials that they confirm.
        labels: The labels, that of the base among them, in the order of the choice.
        seeds: The fresh seeds.
        resume_command: What to type to go on with it.
        selection: What trials are chosen by.
    """
    complete = [row for row in rows if row.status == Status.COMPLETE]
    labeled = [
        name for name in (REPORT_METRIC, METRIC) if complete and all(row.metric(name) is not None for row in complete)
    ]
    values = run_scores(complete, selection if not labeled else Selection(labeled[0], (labeled[0],)))
    scores: dict[str, dict[int, float]] = {label: {} for label in labels}
    for row in complete:
        if row.label in values:
            scores[row.trial][row.seed] = values[row.label]
    base = scores.pop(REFERENCE_LABEL)
    differences = compare_all({label: paired(found, base) for label, found in scores.items()})
    return Confirmation(
        metric=labeled[0] if labeled else selection.name,
        unit=" %" if labeled else selection.unit,
        seeds=tuple(seeds),
        base=base,
        trials=tuple(
            ConfirmedTrial(label=label, values=found, difference=differences[label]) for label, found in scores.items()
        ),
        is_complete=sum(row.status.has_ended for row in rows) == len(labels) * len(seeds),
        resume_command=resume_command,
    )


def write_confirmation(found: Confirmation, path: Path) -> None:
    """Write a row for each trial of a confirmation as a parquet file, in one step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_columns(found, trial) for trial in found.trials]
    kinds: Mapping[str, Any] = {"trial": pa.string(), "metric": pa.string(), "is_effect": pa.bool_(), "n": pa.int64()}
    names = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({key: pa.array([row[key] for row in rows], type=kinds.get(key, pa.float64())) for key in names})
    write_file(path, lambda file: pq.write_table(table, file))


def _columns(found: Confirmation, trial: ConfirmedTrial) -> dict[str, Any]:
    difference = trial.difference
    spread, interval, adjusted = difference.spread, difference.interval, difference.adjusted
    return {
        "trial": trial.label,
        "metric": found.metric,
        "mean": _plain(Spread.of(list(trial.values.values())).mean),
        "base": _plain(Spread.of(list(found.base.values())).mean),
        "difference": _plain(spread.mean),
        "std": _plain(spread.std),
        "n": spread.n,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "p": difference.p,
        "holm_low": adjusted.low if adjusted else None,
        "holm_high": adjusted.high if adjusted else None,
        "holm_p": difference.p_adjusted,
        "is_effect": found.is_complete and difference.is_effect,
    }


def _plain(value: float) -> float | None:
    return None if value != value else value
