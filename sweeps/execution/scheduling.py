"""What Tune asks while trials run: whether to stop one of them, or all."""

from __future__ import annotations

import math
import time
from typing import Any

from ray.tune import Stopper
from ray.tune.schedulers import FIFOScheduler

from sweeps.execution.trial import REPORT, describe


class PrunerScheduler(FIFOScheduler):
    """Stops the trials that the searcher gives up. All its state is in the study.

    Args:
        searcher: with `report` and `note_error` as those of :class:`sweeps.search.searcher.StudySearcher`.
    """

    def __init__(self, searcher: Any):
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Called by Tune with a trial's flattened report."""
        prefix = f"{REPORT}/"
        metrics = {key[len(prefix) :]: value for key, value in result.items() if key.startswith(prefix)}
        if metrics and self._searcher.report(trial.trial_id, metrics):
            return self.STOP
        return self.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Called by Tune when a trial's process has failed, before it is started again or given up."""
        error = trial.get_pickled_error()
        message = describe(error) if error else "its process was lost"
        self._searcher.note_error(trial.trial_id, message, final=not trial.should_recover())


class Interruption(Stopper):
    """Ends the sweep, leaving what runs to be resumed: when asked to, after `budget` seconds, or at a `fault`."""

    def __init__(self, budget: float | None):
        self._deadline = math.inf if budget is None else time.monotonic() + budget
        self.requested = False
        self.fault = ""
        """Why the results cannot be written."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are not stopped here."""
        return False

    def stop_all(self) -> bool:
        """Called by Tune at every step."""
        return self.requested or bool(self.fault) or time.monotonic() >= self._deadline
