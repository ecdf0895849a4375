"""The criterion that takes a whole sweep: how far each finished trial agrees with all of them together.

A run cannot report it, since there is none before the trials have finished: so it stops no trial early and drives no
search. It is computed at the end of a search, when nothing is left to train, and by
``sweeps/report.py RESULTS --select-by ensemble``, and stands among the metrics of the rows from then on; a sweep that
goes on begins without.

The base, which has no contrast, is no trial of the search: it does not vote, and so has no score. One that does not
vote would seem worse than those that do, by nothing but that.
"""

from __future__ import annotations

import dataclasses
import functools
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgpc.evaluation.names import CRITERIA_PREFIX, ENSEMBLE
from pgpc.runtime.checks import check
from pgpc.runtime.files import scratch_folder
from sweeps.common.commands import report_command
from sweeps.common.names import Kind, Status
from sweeps.common.words import count
from sweeps.definition.folder import RESULTS_FILE, is_running
from sweeps.definition.sweep import Sweep
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, last_checkpoint, write_parquet

if TYPE_CHECKING:
    from pgpc.evaluation.criteria.ensemble import Voter
    from pgpc.evaluation.loaded_model import LoadedModel

METRIC_NAME = CRITERIA_PREFIX + ENSEMBLE
"""Name of the criterion among the metrics of a row."""
_PAUSE = 20.0
"""Seconds between two lines of progress."""

Say = Callable[[str], None]
"""Function that is given a line to be shown."""


def is_possible(sweep: Sweep, rows: Sequence[Row]) -> bool:
    """Return whether the sweep has what the criterion takes: a target that is measured, and two complete trials."""
    return sweep.is_search and bool(sweep.config.evaluation.criteria_images) and _num_trials(rows) >= 2


def put_off(sweep: Sweep) -> str:
    """Return what to say where a sweep has been stopped: the criterion takes as long as all its networks do."""
    command = f"{report_command()} {shlex.quote(str(sweep.folder))} --select-by {ENSEMBLE}"
    return f"the criterion {ENSEMBLE} is computed when all trials have ended; before that, by: {command}"


def at_the_end(sweep: Sweep, rows: Sequence[Row], say: Say) -> list[Row]:
    """Return the rows of a search that has ended with the criterion; as they were where it cannot be computed.

    Args:
        sweep: The sweep.
        rows: Its rows.
        say: Is told what is done, and in one line why there is no such criterion.
    """
    every = list(rows)
    if not is_possible(sweep, every):
        return every
    try:
        return with_ensemble(sweep, every, say)
    except Exception as error:  # whatever it is, the trainings are worth more
        what = str(error).partition("\n")[0]
        say(f"the criterion {ENSEMBLE} could not be computed: {type(error).__name__}: {what}")
        return every


def provide(folder: Path, say: Say) -> None:
    """Compute the criterion for the sweep in a folder and put it into results.parquet, unless it is there.

    Raises:
        ValueError: It cannot be computed; the message says why.
        OSError: A file cannot be read or written.
    """
    results = Results.read(folder)
    sweep, rows = results.sweep, list(results.rows)
    if _num_trials(rows) >= 2 and all(METRIC_NAME in row.metrics for row in voting(rows)):
        return
    check(
        not is_running(sweep.folder),
        f"--select-by {ENSEMBLE} takes the trials of a sweep that has ended",
        f"{sweep.folder.name}, which runs",
        "Wait for it, or choose by another criterion.",
    )
    write_parquet(with_ensemble(sweep, rows, say), sweep.folder / RESULTS_FILE)


def voting(rows: Sequence[Row]) -> list[Row]:
    """Return the runs whose networks make the ensemble: the complete ones of the complete trials of a search."""
    return [
        row
        for row in rows
        if row.kind == Kind.SEARCH and row.status == row.outcome == Status.COMPLETE and row.iterations > 0
    ]


def with_ensemble(sweep: Sweep, rows: Sequence[Row], say: Say) -> list[Row]:
    """Return the rows, with the criterion as a metric of those that vote.

    With several seeds each run votes and has a score; that of the trial is their mean, as with every other metric.

    Args:
        sweep: The sweep.
        rows: Its rows.
        say: Is told how far it is.

    Raises:
        ValueError: There are fewer than two complete trials, a checkpoint or the target is missing or damaged.
        OSError: A file cannot be read or written.
    """
    check(
        sweep.is_search,
        f"--select-by {ENSEMBLE} takes the trials of a search",
        f"{sweep.folder.name}, which runs given configs",
    )
    check(
        sweep.config.evaluation.criteria_images > 0,
        f"evaluation.criteria_images must be at least 1 with --select-by {ENSEMBLE}",
        sweep.config.evaluation.criteria_images,
    )
    check(
        _num_trials(rows) >= 2,
        f"--select-by {ENSEMBLE} takes at least two complete trials",
        _num_trials(rows),
        "Resume the sweep with more.",
    )
    scores = _scores(sweep, voting(rows), say)
    return [
        dataclasses.replace(row, metrics={**row.metrics, METRIC_NAME: scores[row.label]})
        if row.label in scores
        else row
        for row in rows
    ]


def _scores(sweep: Sweep, runs: Sequence[Row], say: Say) -> Mapping[str, float]:
    """Return the score of each of these runs in percent, by its label."""
    from pgpc.data.domains import open_shards
    from pgpc.evaluation.criteria.ensemble import ensemble_agreement
    from pgpc.evaluation.loaded_model import load_model

    checkpoints = {run.label: _checkpoint(sweep, run) for run in runs}
    first = load_model(next(iter(checkpoints.values())))  # before images are opened: it may be damaged
    target = open_shards(sweep.config.data.target, sweep.config.data, "train")
    num = sweep.config.evaluation.criteria_images
    say(f"{ENSEMBLE}: segmenting {count(min(num, len(target)), 'image')} with {count(len(runs), 'network')}")
    # In the sweep's folder, since that for temporary files may be memory.
    with scratch_folder(f".{ENSEMBLE}-", sweep.folder) as scratch:
        voters = _voters(checkpoints, first, functools.partial(_say_now_and_then, say, [time.monotonic()], len(runs)))
        found = ensemble_agreement(voters, target, num, first.classes, scratch=scratch)
    return dict(zip(checkpoints, found, strict=True))


def _checkpoint(sweep: Sweep, run: Row) -> Path:
    folder = sweep.trials_folder / run.directory.name  # also where the sweep's folder was moved
    found = last_checkpoint(folder)
    if found is None:
        raise FileNotFoundError(f"Every complete run must have its checkpoint, but there is none in {folder}.")
    return found


def _voters(checkpoints: Mapping[str, Path], first: LoadedModel, on_progress: Callable[[int], None]) -> Iterator[Voter]:
    """Load one student after the other, but for the first, which stays; of the others the one before is let go."""
    from pgpc.evaluation.criteria.ensemble import Voter
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.runtime.distributed import local_device

    for done, (label, file) in enumerate(checkpoints.items()):
        on_progress(done)
        loaded = load_model(file) if done else first
        network = loaded.student.segmenter.to(local_device())
        config = loaded.config
        del loaded
        yield Voter(label, network, config.data, config.evaluation)
        del network


def _say_now_and_then(say: Say, last: list[float], num: int, done: int) -> None:
    if time.monotonic() - last[0] >= _PAUSE:
        last[0] = time.monotonic()
        say(f"{ENSEMBLE}: {done} of {num} networks")


def _num_trials(rows: Sequence[Row]) -> int:
    return len({row.trial for row in voting(rows)})
