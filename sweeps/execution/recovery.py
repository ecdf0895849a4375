"""How often Ray Train starts the workers of a run again when some of them are lost.

Train counts over the whole run, and counts a machine that vanishes as a failure of the training unless Ray was told
before. A run of days on machines that come and go would be given up for nothing. Here a run is given up when it fails
several times without getting further: an error of its own comes back at the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ray.exceptions import RayActorError

from sweeps.common.private_ray import (
    DefaultFailurePolicy,
    FailureConfig,
    FailureDecision,
    FailurePolicy,
    PreemptionError,
    PreemptionInfo,
    TrainingFailedError,
    WorkerGroupError,
)
from sweeps.execution.checkpoints import newest_checkpoint
from sweeps.execution.run_errors import lost_at_start

MAX_FAILURES = 2
"""How often lost workers, or a lost process of a trial, are replaced without getting to the next checkpoint."""
MAX_LOST_MACHINES = 20
"""Machines that a run may lose one after the other without getting to its next checkpoint.

Spot machines go by the dozen; yet a training that brings down whatever it runs on must end."""


class RecoveryPolicy(FailurePolicy):
    """Train's own policy, which begins to count anew with each run, and at each of its checkpoints.

    The loss of a machine counts towards ``max_preemption_failures``, announced or not, and not towards
    ``max_failures``. Often a worker of the machine, or one that talks to it, fails some seconds before Ray knows of the
    machine; then it is a failure like any other, which the next checkpoint makes forgotten.

    Args:
        failure_config: The limits.
        begun: Returns the directory of the run that is being trained; None between two runs, when workers that are lost
            are not replaced.
    """

    def __init__(self, failure_config: FailureConfig, begun: Callable[[], Path | None]) -> None:
        super().__init__(failure_config)
        self._begun = begun
        self._place: tuple[Path, str | None] | None = None
        self._policy = DefaultFailurePolicy(failure_config)

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Return, when something has failed, whether Train resumes from the last checkpoint."""
        error, directory = training_failed_error, self._begun()
        if directory is None:
            return FailureDecision.RAISE
        place = directory, newest_checkpoint(directory)
        if place != self._place:
            self._place, self._policy = place, DefaultFailurePolicy(self.failure_config)
        lost = lost_at_start(error)
        if lost is not None:
            # Train calls it an error of its own, and depending on the moment gives up at once or never.
            error = WorkerGroupError("A worker was lost while it was started.", {0: lost})
        if has_lost_machine(error):
            error = PreemptionError(PreemptionInfo(None, {}), drain_timed_out=True)
        return self._policy.make_decision(error)


def has_lost_machine(error: TrainingFailedError) -> bool:
    """Return whether a worker died because its machine did."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    causes = [getattr(failure, "health_check_failure", failure) for failure in failures]
    # Ray has no type for it.
    return any(isinstance(c, RayActorError) and (c.preempted or "its node has died" in str(c)) for c in causes)
