"""Tune executes the trials of a searcher, until they have ended or the user wants it to stop."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from ray import tune
from ray.tune.search import Searcher

from sweeps.common.faults import cannot_write, chain
from sweeps.execution import scheduling
from sweeps.execution.storage_faults import Guard, first_line
from sweeps.execution.trial import RESTARTS, TRIAL_RESOURCES, run_trial
from sweeps.progress.plain import Terminal


def execute(searcher: Searcher, interruption: scheduling.Interruption, concurrency: int, folder: Path) -> None:
    """Tune runs the trials of a searcher, see `Guard`. What Tune itself writes is of no use afterwards and removed."""
    shutil.rmtree(folder / "tune", ignore_errors=True)
    guard = Guard(searcher, interruption, folder)
    tuner = tune.Tuner(
        tune.with_resources(run_trial, TRIAL_RESOURCES),
        tune_config=tune.TuneConfig(
            search_alg=guard,
            scheduler=scheduling.PrunerScheduler(guard),
            num_samples=-1,
            max_concurrent_trials=concurrency,
            trial_name_creator=lambda trial: trial.config["label"],
            trial_dirname_creator=lambda trial: f"{trial.config['label']}_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=interruption,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:  # Tune, too, writes below the folder, and wraps what it meets
        if not cannot_write(chain(error)):
            raise
        interruption.fault = interruption.fault or first_line(error)
    shutil.rmtree(folder / "tune", ignore_errors=True)


@contextlib.contextmanager
def stop_gracefully(interruption: scheduling.Interruption, terminal: Terminal, received: list[int]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the sweep to stop; the second one leaves at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True
        terminal.say("stopping; once more to leave at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
