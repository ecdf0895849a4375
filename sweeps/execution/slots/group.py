"""The workers of a slot: a run of Ray Train that goes on from one run of the sweep to the next."""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray
import ray.train

from sweeps.common.private_ray import ExecutionGroup, FailureConfig, RunConfig
from sweeps.execution.recovery import MAX_FAILURES, MAX_LOST_MACHINES
from sweeps.execution.run_errors import FailFast
from sweeps.execution.slots.worker import ENDED, End, GoOn, Train, free_address, serve, take
from sweeps.execution.trainer import Trainer
from sweeps.search.trial_spec import REPORT, Workers


class Reported(NamedTuple):
    """The run has reported, with these metrics."""

    metrics: dict[str, float]


class Ended(NamedTuple):
    """The run has come to its end, or to an error, with which the group ends, too."""

    error: BaseException | None


_GROUPS: dict[str, Group] = {}


class _Channel(ray.train.UserCallback):
    """Takes the reports of a group; it names the group, since it travels to the workers, too.

    Args:
        name: The name of the group.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Take what each worker has reported; called by Train."""
        first = metrics[0]
        _GROUPS[self._name].events.put(Ended(None) if ENDED in first else Reported(first[REPORT]))


class Group:
    """A group of workers; they are asked for when it is made, and given up at the end, or at an error.

    Args:
        workers: What they are.
        storage: A folder for what Train keeps.

    Attributes:
        workers: What they are.
        events: What the run has come to, in the order of time.
    """

    def __init__(self, workers: Workers, storage: Path) -> None:
        self.workers = workers
        self.events: queue.SimpleQueue[Reported | Ended] = queue.SimpleQueue()
        self._storage, self._name = storage, f"slot-{uuid.uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._plain: Mapping[str, Any] | None = None
        self._is_over = False
        self._there: ExecutionGroup | None = None
        # A daemon, so that Tune can end this process while it runs.
        self._thread = threading.Thread(target=self._run, name="train", daemon=True)
        self._thread.start()

    def begin(self, plain: Mapping[str, Any]) -> bool:
        """Train a run, in place of the one before; return False where the group is over.

        Args:
            plain: The plain data of its `TrialSpec`.
        """
        with self._lock:
            if self._is_over:
                return False
            self._plain = plain
            self._send_run()
        return True

    def go_on(self) -> None:
        """Let the run go on, which waits after each report."""
        with self._lock:
            self._send(GoOn())

    def rest(self) -> None:
        """Take note that the run is over; workers that are lost from now on are not replaced."""
        with self._lock:
            self._plain = None

    def end(self) -> None:
        """Let the workers go."""
        with self._lock:
            self._is_over = True
            self._send(End())

    @property
    def is_over(self) -> bool:
        """Whether the workers are gone, or about to go."""
        with self._lock:
            return self._is_over

    def join(self, patience: float) -> None:
        """Wait until the workers are gone, but not longer than `patience` seconds."""
        self._thread.join(patience)

    def _run(self) -> None:
        error: BaseException | None = None
        _GROUPS[self._name] = self
        try:
            self._trainer().fit()
        except BaseException as found:
            error = found
        with self._lock:
            self._is_over, self._there = True, None
        del _GROUPS[self._name]
        self.events.put(Ended(error))

    def _trainer(self) -> Trainer:
        workers = self.workers
        resources = {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})
        return Trainer(
            serve,
            on_workers=self._came,
            directory=self._directory,
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers.count, use_gpu=workers.gpus > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name=self._name,
                storage_path=str(self._storage),
                failure_config=FailureConfig(max_failures=MAX_FAILURES, max_preemption_failures=MAX_LOST_MACHINES),
                callbacks=[_Channel(self._name), FailFast()],
            ),
        )

    def _came(self, there: ExecutionGroup) -> None:
        """Give workers that have just come what is to be trained."""
        with self._lock:
            self._there = there
            if self._is_over:
                self._send(End())
            elif self._plain is not None:
                self._send_run()

    def _directory(self) -> Path | None:
        """Return the directory of the run, and None, from when on nothing is trained here, where there is none."""
        with self._lock:
            self._is_over |= self._plain is None
            return None if self._plain is None else Path(self._plain["directory"])

    def _send_run(self) -> None:
        assert self._plain is not None, "there is a run"
        if self._there is not None:
            with contextlib.suppress(ray.exceptions.RayError):  # a worker was lost: those that take its place are told
                address, port = self._there.execute_single(0, free_address)
                self._send(Train(plain=self._plain, address=address, port=port))

    def _send(self, order: Train | GoOn | End) -> None:
        if self._there is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                self._there.execute_async(take, order)
