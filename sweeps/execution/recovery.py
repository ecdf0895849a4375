"""How often Ray Train starts the workers of a run again when some of them are lost.

Train counts over the whole run, and counts a machine that vanishes as a failure of the training unless Ray was told
before. A run of days on machines that come and go would be given up for nothing. Here a run is given up when it fails
several times without getting further: an error of its own comes back at the same place.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from ray.exceptions import RayActorError

from pgpc.runtime.files import write_file
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
    list_of_checkpoints,
)

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a checkpoint's folder; that of pgpc.models.checkpoint, which imports torch."""
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


def mend_snapshot(directory: Path) -> None:
    """Make Train's list of a run's checkpoints name what is there, since Train would refuse the run for ever.

    Train overwrites the list in place, so that a kill can cut it short; and a copy of a run that was interrupted may
    have a list that is newer than its checkpoints. The run then goes on from the newest checkpoint that is complete, or
    starts afresh where there is none.

    Args:
        directory: The directory of the run.

    Raises:
        OSError: The directory cannot be written.
    """
    file = snapshot_file(directory)
    if not file.is_file() or _names_what_is_there(file):
        return
    # A file that was cut short is no zip archive any more: its table of contents is at its end.
    complete = [
        found.parent.name for found in directory.glob(f"checkpoint_*/{CHECKPOINT}") if zipfile.is_zipfile(found)
    ]
    if complete:
        write_file(file, lambda opened: opened.write(list_of_checkpoints(max(complete)).encode()))
    else:
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


def _names_what_is_there(file: Path) -> bool:
    """Return whether a list of checkpoints can be read, and each of them is there."""
    try:
        stored = json.loads(file.read_text())
        found = [*stored["checkpoint_results"], *filter(None, [stored.get("latest_checkpoint_result")])]
        return all((file.parent / result["checkpoint_dir_name"] / CHECKPOINT).is_file() for result in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
