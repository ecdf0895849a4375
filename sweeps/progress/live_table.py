"""The table of a sweep's runs on a terminal, as it is drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from sweeps.common.names import METRIC, Status

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
        params: Texts of the parameters by their names.
    """

    label: str
    state: str
    score: str
    iteration: int = 0
    iterations: int = 0
    params: dict[str, str] = field(default_factory=dict)


def table(rows: Sequence[LiveRow], columns: Sequence[str], width: int, score_name: str = METRIC) -> Text:
    """Return a line for each row, below a line of names.

    A table of rich's own would take ten times as long to draw.

    Args:
        rows: The rows to be shown.
        columns: Names of the parameters; those that find no room are left out, the last first.
        width: The width of the terminal, in characters.
        score_name: What the score is called.
    """
    counts = [f"{row.iteration}/{row.iterations}" if row.iterations else "" for row in rows]
    trial = _widest(["trial", *(row.label for row in rows)])
    count = _widest(counts)
    score = _widest([score_name, *(row.score for row in rows)])
    widths = {name: _widest([name, *(row.params.get(name, "-") for row in rows)]) for name in columns}
    bar = _widest([*({row.state for row in rows} - {Status.RUNNING}), "#" * _MIN_BAR])

    room = width - trial - bar - count - score - 3 * len(_GAP)
    shown = _fitting(widths, room)
    extra = [_LEFT_OUT] * (len(shown) < len(columns))
    room -= sum(widths[name] + len(_GAP) for name in shown) + len(extra) * len(_GAP + _LEFT_OUT)
    bar = min(bar + max(room, 0), max(_BAR, bar))

    def right(cells: Iterable[str]) -> str:
        return "".join(f"{_GAP}{cell:>{widths[name]}}" for name, cell in zip(shown, cells, strict=True))

    drawn = Text(no_wrap=True, overflow="crop")
    names = "".join(_GAP + name for name in extra)
    drawn.append(f"{'trial':{trial}}{_GAP}{'':{bar}}{_GAP}{'':{count}}{_GAP}{score_name:>{score}}", style="dim")
    drawn.append(right(shown) + names, style="dim")
    for row, done in zip(rows, counts, strict=True):
        drawn.append(f"\n{row.label:{trial}}{_GAP}")
        if row.state == Status.RUNNING:
            filled = bar * row.iteration // max(row.iterations, 1)
            drawn.append("#" * filled, style="cyan").append("." * (bar - filled), style="dim")
        else:
            drawn.append(f"{row.state:{bar}}", style=_STYLES.get(row.state, ""))
        drawn.append(f"{_GAP}{done:>{count}}{_GAP}").append(f"{row.score:>{score}}", style="bold")
        drawn.append(right(row.params.get(name, "-" if row.iterations else "") for name in shown))
    return drawn


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
