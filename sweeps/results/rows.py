"""What has become of each run, as a row of results.parquet.

A run is the training of one trial with one seed, so with several seeds a trial has several runs. In the file, the
column "trial" is the run's own label, which is also the name of its directory (``0003``, or ``0003-s1`` with several
seeds), and "point" is the label of its trial (``0003``); "status" is what became of the run, and "outcome" what became
of the trial. In a sweep of the paper's tables, "table" and "row" say which row of which table the run belongs to; a run
that belongs to several is repeated for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.runtime.files import write_file
from sweeps.common.names import METRIC, REFERENCE_LABEL, Kind, Status
from sweeps.definition import objectives
from sweeps.definition.folder import trials_folder
from sweeps.definition.paper_tables import INFERENCE, row_name
from sweeps.results.forks import TrunkFork, read_fork
from sweeps.search import replicates

if TYPE_CHECKING:
    import optuna
    import pyarrow
    from optuna.trial import FrozenTrial

LEADING = (
    "trial",
    "kind",
    "status",
    METRIC,
    "iterations",
    "seconds",
    "seed",
    "directory",
    "error",
    "point",
    "outcome",
    "pareto",
)
"""The first columns of results.parquet, which every file has."""
_TRUNK = ("warm_up", "warm_up_iterations", "warm_up_seconds")
_PARENT = ("parent", "parent_iteration", "parent_seconds")
_NAMED = frozenset({*LEADING, *_TRUNK, *_PARENT, "table", "row"})
_OUTCOMES = {"COMPLETE": Status.COMPLETE, "PRUNED": Status.PRUNED, "FAIL": Status.FAILED}
"""Name of a state of Optuna's -> what has become of the trial; in any other state it has not ended."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The run of population based training that another run was forked from.

    Attributes:
        label: Label of the parent's trial.
        iteration: Iteration of the parent at which the fork began; the fork's own iterations include those before.
        seconds: Training time of the parent up to there.
    """

    label: str
    iteration: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.label} from {self.iteration}"


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of a table of the paper.

    Attributes:
        table: Number of the table.
        row: Label of the row.
    """

    table: int
    row: str

    def __str__(self) -> str:
        return row_name(self.table, self.row)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What has become of one run.

    Attributes:
        label: Label of the run and name of its directory.
        trial: Label of the run's trial; the same as `label` where trials have one seed. In a confirmation that of the
            trial that the run confirms.
        kind: Part of the sweep that the trial belongs to.
        status: What has become of the run.
        outcome: What has become of the trial.
        score: Last mIoU in percent; None before the first evaluation.
        iterations: Optimizer steps up to the last report, those of a trunk or a parent included.
        seconds: Training time up to there, without evaluations; None before the first report.
        seed: Seed of the training.
        directory: Folder with the run's files, as it was when the row was written.
        error: Why the run failed, or "".
        pareto: Whether the trial is on the front of the complete trials; None where there is one objective.
        trunk: What the run was spared by the shared trunk; None for a run that was not forked from one.
        parent: Run of population based training that this one was forked from; None for one without a parent.
        params: Dotted config key -> value; what was searched, or what the row of a paper's table changes.
        metrics: Name -> last value of every other metric that the training has reported.
        paper: Row of the paper's tables that the run belongs to; None in a search.
    """

    label: str
    trial: str
    kind: Kind
    status: Status
    outcome: Status
    score: float | None = None
    iterations: int = 0
    seconds: float | None = None
    seed: int = 0
    directory: Path = Path()
    error: str = ""
    pareto: bool | None = None
    trunk: TrunkFork | None = None
    parent: Parent | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    paper: PaperRow | None = None

    def metric(self, name: str) -> float | None:
        """Return the last value of a metric, mIoU and seconds among them, or None where it was not reported."""
        known = {METRIC: self.score, "seconds": self.seconds}
        return known[name] if name in known else self.metrics.get(name)

    def interrupted(self) -> Row:
        """Return the row as it is after the end of the sweep's driver: what was running is interrupted."""

        def after(status: Status) -> Status:
            return Status.INTERRUPTED if status == Status.RUNNING else status

        return dataclasses.replace(self, status=after(self.status), outcome=after(self.outcome))

    def to_columns(self) -> dict[str, Any]:
        """Return the row as plain values by column, in the order of the columns of results.parquet."""
        trunk = self.trunk or TrunkFork(trunk="", iterations=0, seconds=0.0)
        columns = {
            "trial": self.label,
            "kind": self.kind.value,
            "status": self.status.value,
            METRIC: self.score,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "seed": self.seed,
            "directory": str(self.directory),
            "error": self.error,
            "point": self.trial,
            "outcome": self.outcome.value,
            "pareto": self.pareto,
            **dict(zip(_TRUNK, dataclasses.astuple(trunk), strict=True)),
        }
        if self.parent:
            columns |= dict(zip(_PARENT, dataclasses.astuple(self.parent), strict=True))
        if not self.paper:
            return {**columns, **self.params, **self.metrics}
        measured = {name: value for name, value in self.metrics.items() if name == INFERENCE}
        reported = {name: value for name, value in self.metrics.items() if name != INFERENCE}
        return {**columns, "row": self.paper.row, **reported, "table": self.paper.table, **self.params, **measured}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Row:
        """Return the row that these values by column make.

        Args:
            columns: Values as they are in results.parquet, also in one of a version that had fewer columns. None in a
                column of a parameter or a metric means that the run has no such parameter or metric.

        Raises:
            ValueError: A column that every file has is missing, or names an unknown status.
        """
        missing = [name for name in LEADING[: LEADING.index("point")] if name not in columns]
        if missing:
            raise ValueError(f"Rows of results.parquet must have the column {missing[0]!r}, but this one has not.")
        others = {key: value for key, value in columns.items() if key not in _NAMED and value is not None}
        status, table = columns["status"], columns.get("table")
        return cls(
            label=columns["trial"],
            trial=columns.get("point") or columns["trial"],
            kind=Kind(columns["kind"]),
            status=Status(status),
            outcome=Status(columns.get("outcome") or status),
            score=columns[METRIC],
            iterations=columns["iterations"],
            seconds=columns["seconds"],
            seed=columns["seed"],
            directory=Path(columns["directory"]),
            error=columns["error"] or "",
            pareto=columns.get("pareto"),
            trunk=_trunk(*(columns.get(name) for name in _TRUNK)),
            parent=_parent(*(columns.get(name) for name in _PARENT)),
            params={key: value for key, value in others.items() if _is_param(key)},
            metrics={key: float(value) for key, value in others.items() if not _is_param(key)},
            paper=None if table is None else PaperRow(table=table, row=columns["row"]),
        )


def collect(
    study: optuna.Study, reference: optuna.Study | None, *, results: Path, seeds: Sequence[int], alive: bool = False
) -> list[Row]:
    """Return a row for each run that was started.

    Args:
        study: Study of the search.
        reference: Study of the reference; None without one.
        results: Folder of the sweep.
        seeds: Seeds of every trial.
        alive: Whether the sweep's driver lives, so that a run that has not ended is running, and not interrupted.

    Returns:
        The reference first, then by the trial's number and in the order of the seeds. The metrics of a run that was
        stopped or failed are those of its last report.
    """
    several = len(study.directions) > 1
    front = _front(study) if several else set()
    rows = []
    for kind, source in ((Kind.REFERENCE, reference), (Kind.SEARCH, study)):
        for trial in _started(source):
            label = REFERENCE_LABEL if kind == Kind.REFERENCE else f"{trial.number:04d}"
            for seed in seeds:
                if len(seeds) == 1 or replicates.status(trial, seed, seeds):
                    row = _row(trial, label, kind, trials_folder(results), seed, seeds, alive)
                    rows.append(dataclasses.replace(row, pareto=label in front if several else None))
    return rows


def to_table(rows: Sequence[Row]) -> pyarrow.Table:
    """Return the rows as results.parquet has them, a column for whatever one of them has."""
    import pyarrow as pa

    columns = [row.to_columns() for row in rows]
    keys = list(dict.fromkeys([*LEADING, *(key for row in columns for key in row)]))
    return pa.table({key: [row.get(key) for row in columns] for key in keys})


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Replace `path` in one step, so that a reader never sees half a file."""
    import pyarrow.parquet as pq

    table = to_table(rows)
    write_file(path, lambda file: pq.write_table(table, file))


def read_parquet(path: Path) -> list[Row]:
    """Return the rows of a results.parquet, in the order of the file.

    Raises:
        ValueError: It is none, or none of a sweep.
        OSError: It cannot be read.
    """
    import pyarrow.parquet as pq

    # Not pq.read_table, which reads many files as one and imports pandas for it.
    with pq.ParquetFile(path) as file:
        return [Row.from_columns(columns) for columns in file.read().to_pylist()]


def last_checkpoint(directory: Path) -> Path | None:
    """Return the newest checkpoint in a run's directory, or None where there is none."""
    return max(directory.glob("checkpoint_*/checkpoint.pt"), default=None)


def _row(trial: FrozenTrial, label: str, kind: Kind, trials: Path, seed: int, seeds: Sequence[int], alive: bool) -> Row:
    metrics = replicates.metrics(trial, seed, seeds)
    run = label + replicates.suffix(seed, seeds)
    unfinished = Status.RUNNING if alive else Status.INTERRUPTED
    outcome = _OUTCOMES.get(trial.state.name, unfinished)
    status = outcome
    if len(seeds) > 1:
        own = replicates.status(trial, seed, seeds)
        status = unfinished if own is None or own == Status.RUNNING else Status(own)
    return Row(
        label=run,
        trial=label,
        kind=kind,
        status=status,
        outcome=outcome,
        score=metrics.pop(METRIC, None),
        iterations=int(metrics.pop("iteration", 0)),
        seconds=metrics.pop("seconds", None),
        seed=seed,
        directory=trials / run,
        error=replicates.error(trial, seed, seeds),
        trunk=read_fork(trials / run),
        parent=_parent(*(trial.user_attrs.get(name) for name in _PARENT)),
        params=trial.params,
        metrics={key: float(value) for key, value in metrics.items()},
    )


def _trunk(name: Any, iterations: Any, seconds: Any) -> TrunkFork | None:
    return TrunkFork(trunk=name, iterations=iterations, seconds=seconds) if name else None


def _parent(label: Any, iteration: Any, seconds: Any) -> Parent | None:
    return Parent(label=label, iteration=iteration, seconds=seconds) if label else None


def _front(study: optuna.Study) -> set[str]:
    """Return the labels of the sweep's own complete trials that no other one of them beats on all objectives.

    The front that Optuna knows may hold trials of an earlier study.
    """
    own = (trial for trial in _started(study) if trial.state.name == "COMPLETE")
    directions = [direction.name.lower() for direction in study.directions]
    return objectives.front({f"{trial.number:04d}": trial.values for trial in own}, directions)


def _started(study: optuna.Study | None) -> Iterator[FrozenTrial]:
    for trial in study.get_trials(deepcopy=False) if study else []:
        if trial.state.name != "WAITING" and replicates.is_own(trial):
            yield trial


_PLAIN_KEYS = ("base", "name")
"""Keys of the config without a dot that may be searched; the seed has a column of its own."""


def _is_param(column: str) -> bool:
    """Return whether a column holds values of the config: most keys have dots, and metrics have none, or a slash."""
    return ("." in column and "/" not in column) or column in _PLAIN_KEYS
