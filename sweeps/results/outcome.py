"""What a sweep has come to, for a program that has started it or reads its folder."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgpc.runtime.files import expand_user
from sweeps.definition.folder import RESULTS_FILE, is_running
from sweeps.definition.sweep import Sweep
from sweeps.results.rows import Row, read_parquet, to_table
from sweeps.results.summaries import Summary, best_trial, is_unfinished, ranked

if TYPE_CHECKING:
    import optuna
    import pandas


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a sweep has come to so far.

    Attributes:
        sweep: The sweep: its options, config and space.
        rows: What has become of each run, the reference first.
    """

    sweep: Sweep
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, folder: Path | str) -> Results:
        """Return the results in the folder of a sweep, which may be running.

        Raises:
            ValueError: It is not the folder of a sweep, or a file in it is damaged.
        """
        sweep = Sweep.load(expand_user(folder).absolute())
        file = sweep.folder / RESULTS_FILE
        rows = read_parquet(file) if file.is_file() else []
        if not is_running(sweep.folder):
            rows = [row.interrupted() for row in rows]
        return cls(sweep=sweep, rows=tuple(rows))

    @property
    def folder(self) -> Path:
        """The folder of the sweep, with its report, its study and the directory of each run."""
        return self.sweep.folder

    @functools.cached_property
    def trials(self) -> tuple[Summary, ...]:
        """The trials, best first; those that are not complete come last."""
        return tuple(ranked(self.rows, self.sweep.selection))

    @functools.cached_property
    def best(self) -> Row | None:
        """The run that stands for the best trial by what the sweep chooses by, that of the seed with the median score.

        None as long as no trial of a search is complete.
        """
        best = best_trial(self.rows, self.sweep.selection) if self.sweep.is_search else None
        return best.run if best else None

    @property
    def is_unfinished(self) -> bool:
        """Whether something is left to train, by resuming the sweep."""
        return is_unfinished(self.sweep, self.trials)

    def trial(self, label: str) -> Summary:
        """Return what has become of one trial, over all its seeds.

        Args:
            label: Its label as in tables and on the screen, such as ``"0003"`` or ``"base"``.

        Raises:
            ValueError: There is no such trial; the message names those that there are.
        """
        found = {trial.label: trial for trial in self.trials}
        if label not in found:
            there = ", ".join(sorted(found)) or "none yet"
            raise ValueError(f"The sweep {self.folder.name} has no trial {label!r}; its trials are: {there}.")
        return found[label]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a line for each run, and the columns of results.parquet."""
        return to_table(self.rows).to_pandas()

    @property
    def study(self) -> optuna.Study:
        """The Optuna study of the search, as it is now; that of the reference is another one of the same storage.

        Nothing is written by opening it. What is written to it, such as a trial, is the search's own from then on.

        Raises:
            ValueError: It is missing.
        """
        from sweeps.search.study import load_study

        return load_study(self.folder)
