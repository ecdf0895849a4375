"""How often Ray Train starts the workers of a run again when some of them are lost.

Train counts over the whole run, and counts a machine that vanishes as a failure of the training unless Ray was told
before. A run of days on machines that come and go would be given up for nothing. Here a run is given up when it fails
several times without getting further: an error of its own comes back at the same place.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ray.exceptions import RayActorError

from sweeps.common.private_ray import (
    ControllerError,
    DefaultFailurePolicy,
    FailureConfig,
    FailureDecision,
    FailurePolicy,
    PreemptionError,
    PreemptionInfo,
    TrainingFailedError,
    WorkerGroupError,
)

MAX_FAILURES = 2
"""How often lost workers, or a lost process of a trial, are replaced without getting to the next checkpoint."""
MAX_LOST_MACHINES = 20
"""Machines that a run may lose one after the other without getting to its next checkpoint.

Spot machines go by the dozen; yet a training that brings down whatever it runs on must end."""
_SNAPSHOT = "checkpoint_manager_snapshot.json"  # Train's list of a run's checkpoints, in the run's directory
_LISTED = "checkpoint_results"  # the list itself


class RecoveryPolicy(FailurePolicy):
    """Train's own policy, which begins to count anew at each checkpoint.

    The loss of a machine counts towards ``max_preemption_failures``, announced or not, and not towards
    ``max_failures``. Often a worker of the machine, or one that talks to it, fails some seconds before Ray knows of the
    machine; then it is a failure like any other, which the next checkpoint makes forgotten.

    Args:
        failure_config: The limits.
        directory: The directory of the run.
    """

    def __init__(self, failure_config: FailureConfig, directory: Path) -> None:
        super().__init__(failure_config)
        self._directory = directory
        self._checkpoint: str | None = None
        self._policy = DefaultFailurePolicy(failure_config)

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Return, when something has failed, whether Train resumes from the last checkpoint."""
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
    """Return whether a worker died because its machine did."""
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    causes = [getattr(failure, "health_check_failure", failure) for failure in failures]
    # Ray has no type for it.
    return any(isinstance(c, RayActorError) and (c.preempted or "its node has died" in str(c)) for c in causes)


def newest_checkpoint(directory: Path) -> str | None:
    """Return the name of the last checkpoint that Train knows of in a run's directory.

    Returns:
        None where there is none yet, or the list is just being written.
    """
    try:
        return str(json.loads(snapshot_file(directory).read_text())["latest_checkpoint_result"]["checkpoint_dir_name"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def snapshot_file(directory: Path) -> Path:
    """Return where Train keeps its list of a run's checkpoints."""
    return directory / _SNAPSHOT


def drop_torn_snapshot(directory: Path) -> None:
    """Remove Train's list of checkpoints where a kill has cut it short, since Train would refuse the run for ever.

    Train overwrites the list in place, so there is a moment in which it is not JSON. The run then starts afresh.
    """
    file = snapshot_file(directory)
    try:
        json.loads(file.read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        file.unlink()


def drop_unlisted_checkpoints(directory: Path) -> None:
    """Remove the checkpoints in a run's directory that Train's list does not name.

    A process that was killed while it copied one leaves it in part, under a name that is never used again. Nothing is
    removed where the list is missing, or names one that is not there.
    """
    try:
        listed = {entry["checkpoint_dir_name"] for entry in json.loads(snapshot_file(directory).read_text())[_LISTED]}
    except (OSError, ValueError, TypeError, KeyError):
        return
    if listed and all((directory / name).is_dir() for name in listed):
        for folder in directory.glob("checkpoint_*"):
            if folder.is_dir() and folder.name not in listed:
                shutil.rmtree(folder, ignore_errors=True)
