"""How often Ray Train starts the workers of a trial again when some of them are lost.

Train counts over the whole run, and counts a machine that vanishes as a failure of the training unless Ray was told
before. A trial of days on machines that come and go would be given up for nothing. Here a trial is given up when it
fails several times without getting further: an error of its own comes back at the same place.
"""

from __future__ import annotations

import json
from pathlib import Path

from ray.exceptions import RayActorError
from ray.train import ControllerError, FailureConfig, TrainingFailedError, WorkerGroupError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision, FailurePolicy
from ray.train.v2.api.exceptions import PreemptionError
from ray.train.v2.api.preemption import PreemptionInfo

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Train's list of a run's checkpoints, in the run's directory."""


class Restarts(FailurePolicy):
    """Train's own policy, which begins to count anew at each checkpoint.

    The loss of a machine counts towards ``max_preemption_failures``, announced or not, and not towards
    ``max_failures``. Often a worker of the machine, or one that talks to it, fails some seconds before Ray knows of the
    machine; then it is a failure like any other, which the next checkpoint makes forgotten.

    Args:
        failure_config: the limits.
        directory: of the run.
    """

    def __init__(self, failure_config: FailureConfig, directory: Path) -> None:
        super().__init__(failure_config)
        self._directory = directory
        self._checkpoint: str | None = None
        self._policy = DefaultFailurePolicy(failure_config)

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Called by Train when something has failed: whether to go on from the last checkpoint."""
        error = training_failed_error
        newest = newest_checkpoint(self._directory)
        if newest != self._checkpoint:
            self._checkpoint, self._policy = newest, DefaultFailurePolicy(self.failure_config)
        if isinstance(error, ControllerError) and isinstance(error.controller_failure, RayActorError):
            # Train calls it an error of its own, and gives up, when a worker is lost between two steps of its start.
            error = WorkerGroupError("A worker was lost while it was started.", {0: error.controller_failure})
        if has_lost_machine(error):
            error = PreemptionError(PreemptionInfo(None, {}), drain_timed_out=True)
        return self._policy.make_decision(error)


def has_lost_machine(error: TrainingFailedError) -> bool:
    """Whether a worker died because its machine did."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    causes = [getattr(failure, "health_check_failure", failure) for failure in failures]
    # Ray has no type for it.
    return any(isinstance(c, RayActorError) and (c.preempted or "its node has died" in str(c)) for c in causes)


def newest_checkpoint(directory: Path) -> str | None:
    """Name of the last checkpoint that Train knows of in a run's directory."""
    try:
        return json.loads((directory / SNAPSHOT).read_text())["latest_checkpoint_result"]["checkpoint_dir_name"]
    except (OSError, ValueError, TypeError, KeyError):  # none yet, or it is just being written
        return None
