"""The way of a run's reports from Ray Train to Tune.

Ray 2.60 has TuneReportCallback for this. With it Tune's process of a trial puts reports and the end of its function
into one queue of one place, from two threads: where the last report has not been fetched when the function ends, the
thread that would empty the queue waits for room in it, and the trial hangs for ever. Here one thread does both.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import ray.train
from ray import tune
from ray.util.queue import Queue


class _Fits(Protocol):
    def fit(self) -> Any:
        """Train until the end of the run."""


class ReportChannel(ray.train.UserCallback):
    """A callback of a Train run; to be made in the process of the trial, which calls `fit`."""

    def __init__(self) -> None:
        self._queue = Queue(1, actor_options={"num_cpus": 0})

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Take what each worker reports; called by Train's controller."""
        self._queue.put(metrics[0])

    def fit(self, trainer: _Fits) -> None:
        """Run the trainer, which has this callback, and hand each report to Tune; return after the last one.

        Raises:
            TrainingFailedError: The training failed; the same as ``trainer.fit()`` raises.
        """
        failure: list[BaseException] = []

        def run() -> None:
            try:
                trainer.fit()
            except BaseException as error:
                failure.append(error)
            self._queue.put(None)  # after the last report

        # A daemon, so that Tune can end this process while it runs.
        threading.Thread(target=run, name="train", daemon=True).start()
        while (report := self._queue.get()) is not None:
            tune.report(report)
        if failure:
            raise failure[0]
