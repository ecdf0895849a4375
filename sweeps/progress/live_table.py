"""The table of a sweep's runs on a terminal, as it is drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

from sweeps.common.names import METRIC, REFERENCE_LABEL, Status
from sweeps.common.words import number, short
from sweeps.definition.sweep import Sweep
from sweeps.progress.plain import params_of
from sweeps.results.rows import Row
from sweeps.results.scores import run_scores

FINISHED = 6
"""So many finished runs are shown."""
_STYLES = {Status.COMPLETE.value: "green", Status.PRUNED.value: "yellow", Status.FAILED.value: "red"}
_BAR, _MIN_BAR = 30, 8
_GAP = "  "
_LEFT_OUT = ".."


@dataclass(kw_only=True)
class LiveRow:
    """A line of the table: a run, or what became of all runs of a trial.

    Attributes:
        label: The label of the run, or of the trial.
        state: The word of a `Status`, or words that say more.
        score: The score as text.
        iteration: Iterations done so far; 0 for a trial.
        iterations: The iteration at which the run is complete; 0 for a trial.
        loss: The sum of its losses as text; "" where it is not known.
        speed: Images per second as text; "" where that is not known.
        params: Texts of the parameters by their names.
    """

    label: str
    state: str
    score: str
    iteration: int = 0
    iterations: int = 0
    loss: str = ""
    speed: str = ""
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep has before it, and what it has behind it.

    Attributes:
        num_trials: The number of trials of the search, or of the tables; the reference is not among them.
        done: How many of them earlier drivers have finished.
        has_reference: Whether the reference, too, is still to be run.
        columns: Names of the parameters.
        trials: The folder with the directory of each run.
        finished: The last runs that earlier drivers have finished, the last one first.
    """

    num_trials: int
    done: int
    has_reference: bool
    columns: tuple[str, ...]
    trials: Path
    finished: tuple[LiveRow, ...] = ()

    @classmethod
    def of(cls, sweep: Sweep, rows: Sequence[Row]) -> Plan:
        """Return the plan of a sweep with these rows so far."""
        finished = {row.trial for row in rows if row.outcome != Status.INTERRUPTED}
        scores = run_scores(rows, sweep.selection)
        ended = {row.label: row for row in reversed(rows) if row.status.has_ended}
        shown = [
            LiveRow(
                label=label,
                state=row.status.value,
                score=number(scores.get(label), sweep.selection.spec),
                iteration=row.iterations,
                iterations=sweep.iterations(row.params),
                params=params_of(row.params),
            )
            for label, row in ended.items()
        ]
        return cls(
            num_trials=sweep.num_trials,
            done=len(finished - ({REFERENCE_LABEL} if sweep.is_search else set())),
            has_reference=sweep.is_search and REFERENCE_LABEL not in finished,
            columns=tuple(map(short, sweep.space)),
            trials=sweep.trials_folder,
            finished=tuple(shown[:FINISHED]),
        )


def table(rows: Sequence[LiveRow], columns: Sequence[str], width: int, score_name: str = METRIC) -> Text:
    """Return a line for each row, below a line of names.

    A table of rich's own would take ten times as long to draw.

    Args:
        rows: The rows to be shown.
        columns: Names of the parameters; those that find no room beside losses and speeds are left out, the last first.
        width: The width of the terminal, in characters.
        score_name: What the score is called.
    """
    counts = [f"{row.iteration}/{row.iterations}" if row.iterations else "" for row in rows]
    trial = _widest(["trial", *(row.label for row in rows)])
    count = _widest(counts)
    score = _widest([score_name, *(row.score for row in rows)])
    measured = {name: texts for name, texts in _measured(rows).items() if any(texts)}
    of_measured = {name: _widest([name, *texts]) for name, texts in measured.items()}
    widths = {name: _widest([name, *(row.params.get(name, "-") for row in rows)]) for name in columns}
    bar = _widest([*({row.state for row in rows} - {Status.RUNNING}), "#" * _MIN_BAR])

    room = width - trial - bar - count - score - 3 * len(_GAP)
    measured = {name: measured[name] for name in _fitting(of_measured, room)}
    room -= sum(of_measured[name] + len(_GAP) for name in measured)
    shown = _fitting(widths, room)
    extra = [_LEFT_OUT] * (len(shown) < len(columns))
    room -= sum(widths[name] + len(_GAP) for name in shown) + len(extra) * len(_GAP + _LEFT_OUT)
    bar = min(bar + max(room, 0), max(_BAR, bar))

    def right(cells: Iterable[str]) -> str:
        return "".join(f"{_GAP}{cell:>{widths[name]}}" for name, cell in zip(shown, cells, strict=True))

    drawn = Text(no_wrap=True, overflow="crop")
    names = "".join(_GAP + name for name in extra)
    drawn.append(f"{'trial':{trial}}{_GAP}{'':{bar}}{_GAP}{'':{count}}{_GAP}{score_name:>{score}}", style="dim")
    drawn.append("".join(f"{_GAP}{name:>{of_measured[name]}}" for name in measured), style="dim")
    drawn.append(right(shown) + names, style="dim")
    for i, (row, done) in enumerate(zip(rows, counts, strict=True)):
        drawn.append(f"\n{row.label:{trial}}{_GAP}")
        if row.state == Status.RUNNING:
            filled = bar * row.iteration // max(row.iterations, 1)
            drawn.append("#" * filled, style="cyan").append("." * (bar - filled), style="dim")
        else:
            drawn.append(f"{row.state:{bar}}", style=_STYLES.get(row.state, ""))
        drawn.append(f"{_GAP}{done:>{count}}{_GAP}").append(f"{row.score:>{score}}", style="bold")
        drawn.append("".join(f"{_GAP}{texts[i]:>{of_measured[name]}}" for name, texts in measured.items()))
        drawn.append(right(row.params.get(name, "-" if row.iterations else "") for name in shown))
    return drawn


def _measured(rows: Sequence[LiveRow]) -> dict[str, list[str]]:
    """Return the texts of what runs show between two evaluations, by the names of their columns."""
    return {"loss": [row.loss for row in rows], "img/s": [row.speed for row in rows]}


def _fitting(widths: dict[str, int], room: int) -> list[str]:
    """Return the first names whose columns fit; where not all do, a mark that says so fits too."""
    names = list(widths)
    for num in range(len(names), 0, -1):
        mark = len(_GAP + _LEFT_OUT) if num < len(names) else 0
        if sum(widths[name] + len(_GAP) for name in names[:num]) + mark <= room:
            return names[:num]
    return []


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)
