"""Tune executes the runs of a searcher, until they have ended or the user wants it to stop."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler

from sweeps.common.private_ray import HEAD_NODE_RESOURCE_NAME
from sweeps.execution.recovery import MAX_FAILURES
from sweeps.execution.run_errors import describe
from sweeps.execution.slots.orphans import Orphans
from sweeps.execution.slots.slot import Slot
from sweeps.execution.storage_faults import FaultCatcher, RunSearcher, first_line, is_fault
from sweeps.search.trial_spec import REPORT

# What Tune's own process of a slot occupies: Tune wants something, and any share of a CPU, however small, would leave
# no room for 2 workers on a machine of 2 cores. The head has this resource and no other node; what else a slot starts
# beside its workers follows Tune's process, so that of the nodes that come and go a run has but its workers.
TRIAL_RESOURCES = {"cpu": 0, HEAD_NODE_RESOURCE_NAME: 0.0001}


class Interruption(Stopper):
    """Ends the sweep, leaving what runs to be resumed: when asked to, when the time is up, or when something is wrong.

    Args:
        budget: Seconds until the sweep ends by itself; None for no limit.

    Attributes:
        requested: Whether the user has asked for the end.
        fault: Why the results cannot be written; "" as long as they can.
        failures: Which runs have failed alike; "" as long as there are not many.
    """

    def __init__(self, budget: float | None) -> None:
        self._deadline = math.inf if budget is None else time.monotonic() + budget
        self.requested = False
        self.fault = ""
        self.failures = ""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False, since single runs are not stopped here."""
        return False

    def stop_all(self) -> bool:
        """Return whether the sweep is to end; called by Tune at every step."""
        return self.requested or bool(self.fault or self.failures) or time.monotonic() >= self._deadline

    def note_fault(self, fault: str) -> None:
        """End the sweep because its results cannot be written; the first fault is kept."""
        self.fault = self.fault or fault

    def note_failures(self, failures: str) -> None:
        """End the sweep because its runs fail, if they do; what was said first is kept."""
        self.failures = self.failures or failures


class PrunerScheduler(FIFOScheduler):
    """Stops the runs that the searcher gives up. All its state is in the study.

    Args:
        searcher: What hears of reports and errors.
    """

    def __init__(self, searcher: RunSearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._reached: dict[str, float] = {}  # the last iteration that each run has reported

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the run goes on; called by Tune with a run's flattened report.

        Tune counts lost processes over the whole run, and never anew; here each report that gets further makes them
        forgotten, as it makes lost workers, see `sweeps.execution.recovery`.
        """
        prefix = f"{REPORT}/"
        metrics = {key[len(prefix) :]: value for key, value in result.items() if key.startswith(prefix)}
        if metrics and metrics["iteration"] > self._reached.get(trial.trial_id, 0):
            self._reached[trial.trial_id] = metrics["iteration"]
            trial.run_metadata.num_failures = 0
        if metrics and self._searcher.report(trial.trial_id, metrics):
            return str(self.STOP)
        return str(self.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tell the searcher; called by Tune when a process has failed, before it is started again or given up."""
        error = trial.get_pickled_error()
        message = describe(error) if error else "its process was lost"
        self._searcher.note_error(trial.trial_id, message, final=not trial.should_recover())


class _EachStep(tune.Callback):
    """Does something at every step of Tune, several times a second.

    Args:
        act: What is done.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Do it; called by Tune."""
        self._act()


def execute(
    searcher: RunSearcher,
    interruption: Interruption,
    concurrency: int,
    folder: Path,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Have Tune execute the runs of a searcher. What Tune itself writes is of no use afterwards and removed.

    Args:
        searcher: What hands out the runs.
        interruption: Ends the sweep; it is told when the results cannot be written.
        concurrency: The number of runs at the same time.
        folder: The folder of the sweep.
        on_step: Is called several times a second.
    """
    shutil.rmtree(folder / "tune", ignore_errors=True)
    catcher = FaultCatcher(searcher, folder, interruption.note_fault, interruption.stop_all)
    tuner = tune.Tuner(
        tune.with_resources(Slot, TRIAL_RESOURCES),
        tune_config=tune.TuneConfig(
            search_alg=catcher,
            scheduler=PrunerScheduler(catcher),
            num_samples=-1,
            max_concurrent_trials=concurrency,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config["label"]),
            trial_dirname_creator=lambda trial: f"{trial.config['label']}_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=interruption,
            callbacks=[_EachStep(on_step), _EachStep(Orphans().look)],
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trainings keep their own
            # Neither says anything, but the one that Tune takes in notebooks clears what the cell has shown so far.
            progress_reporter=tune.CLIReporter(),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:  # Tune, too, writes below the folder, and wraps what it meets
        if is_fault(error, folder):
            interruption.note_fault(first_line(error))
        elif not interruption.requested:  # else Ray has been killed by what has asked for the end
            raise
    shutil.rmtree(folder / "tune", ignore_errors=True)
