"""Runs of a sweep in MLflow, by its own client.

Where the server is, and the experiment, say MLflow's own variables: MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from sweeps.common.names import Status
from sweeps.streams.outbox import RefusedError
from sweeps.streams.tracker import PROJECT, TrackedRun

_ID = "pgpc.run"
"""Tag with the id of a run: MLflow gives ids of its own, and finds a run by its tags."""
_STATUSES = {
    Status.COMPLETE: "FINISHED",
    Status.PRUNED: "KILLED",
    Status.FAILED: "FAILED",
    Status.INTERRUPTED: "KILLED",
}
"""MLflow knows no other words; ours is the tag "status"."""
_PASSING = ("RESOURCE_ALREADY_EXISTS", "REQUEST_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE")
"""Refusals that are none: another sweep has just made the experiment, or the server is busy."""
_LONGEST = 5000
"""Characters of a tag's value that every server takes."""
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class MlflowTracker:
    """Keeps a sweep's runs as runs of an experiment of MLflow.

    Raises:
        ValueError: The address of the server is none.
    """

    name = "MLflow"

    def __init__(self) -> None:
        # What is wrong with the server is said by the outbox.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        try:
            self._client = MlflowClient()
        except Exception as error:  # whatever the driver of a database raises
            raise ValueError(
                "--log-to mlflow takes the address of the server from MLFLOW_TRACKING_URI, such as "
                f"http://127.0.0.1:5000, but got {os.environ.get('MLFLOW_TRACKING_URI')!r}: {error}"
            ) from None
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        self._ids: dict[str, str] = {}

    @property
    def place(self) -> str:
        """The experiment and the server."""
        return f"experiment {self._experiment} of {self._client.tracking_uri}"

    def begin(self, run: TrackedRun, when: float) -> None:
        """Open a run, or open it again, with its parameters and tags."""
        with _one_attempt():
            mine = self._open(run, when)
            self._client.update_run(mine, status="RUNNING")
            self._client.set_tag(mine, "status", Status.RUNNING.value)
            self._client.log_batch(mine, params=[Param(key, str(value)) for key, value in run.params.items()])

    def report(self, run: TrackedRun, iteration: int, metrics: Mapping[str, float], when: float) -> None:
        """Add a report; sent twice it is there once, because the time is part of it."""
        with _one_attempt():
            values = [Metric(key, value, _milliseconds(when), iteration) for key, value in metrics.items()]
            self._client.log_batch(self._open(run, when), metrics=values)

    def end(self, run: TrackedRun, status: Status, error: str, when: float) -> None:
        """Close a run."""
        with _one_attempt():
            mine = self._open(run, when)
            self._client.set_tag(mine, "status", status.value)
            if error:
                self._client.set_tag(mine, "error", error[:_LONGEST])
            self._client.set_terminated(mine, _STATUSES[status], _milliseconds(when))

    def _open(self, run: TrackedRun, when: float) -> str:
        """Return MLflow's id of a run, which is made where it is missing."""
        if run.id not in self._ids:
            experiment = self._experiment_id()
            found = self._client.search_runs([experiment], f"tags.`{_ID}` = '{run.id}'", max_results=1)
            self._ids[run.id] = str(found[0].info.run_id) if found else self._create(experiment, run, when)
        return self._ids[run.id]

    def _create(self, experiment: str, run: TrackedRun, when: float) -> str:
        made = self._client.create_run(experiment, _milliseconds(when), {**run.tags, _ID: run.id}, run.label)
        return str(made.info.run_id)

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        return str(found.experiment_id if found else self._client.create_experiment(self._experiment))


def _milliseconds(when: float) -> int:
    return int(when * 1000)


@contextlib.contextmanager
def _one_attempt() -> Iterator[None]:
    """Tell what the server will not have from what it could not be asked.

    MLflow would try again for minutes by itself, and the outbox could not say meanwhile that something is wrong.
    """
    before = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = "0"
    try:
        yield
    except MlflowException as error:
        if 400 <= error.get_http_status_code() < 500 and error.error_code not in _PASSING:
            raise RefusedError(error.message) from error
        raise
    finally:
        if before is None:
            del os.environ[_RETRIES]
        else:
            os.environ[_RETRIES] = before
