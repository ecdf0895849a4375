"""Reports of a run that ends as soon as it has reported, in real trials of Tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from sweeps.execution import resources
from sweeps.execution.report_channel import ReportChannel

NUM_REPORTS = 3


class Hasty:
    """A trainer whose run is over once its last report has been put into the queue."""

    def __init__(self, channel: ReportChannel, failure: Exception | None = None):
        self._channel, self._failure = channel, failure

    def fit(self) -> None:
        for step in range(1, NUM_REPORTS + 1):
            self._channel.after_report(None, [{"step": step}, {"step": -1}], None)
        if self._failure:
            raise self._failure


def trial(config: dict[str, Any]) -> None:
    channel = ReportChannel()
    try:
        channel.fit(Hasty(channel, ValueError("torn") if config["fails"] else None))
    except ValueError as error:
        tune.report({"step": 0, "failed": str(error)})


@pytest.fixture
def own_cluster() -> Any:
    resources.connect(None)
    yield
    ray.shutdown()


@pytest.mark.long
def test_every_report_arrives_before_the_trial_ends(own_cluster: Any, tmp_path: Path) -> None:
    seen: dict[bool, list[int]] = {True: [], False: []}

    class Steps(tune.Callback):
        def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
            seen[trial.config["fails"]].append(result["step"])

    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 0.1}),
        param_space={"fails": tune.grid_search([False, True])},
        tune_config=tune.TuneConfig(num_samples=3),
        run_config=tune.RunConfig(storage_path=str(tmp_path), callbacks=[Steps()], verbose=0),
    )
    found = tuner.fit()
    assert not found.errors
    assert sorted(seen[False]) == sorted([1, 2, 3] * 3)
    assert sorted(seen[True]) == sorted([1, 2, 3, 0] * 3)
    assert [result.metrics.get("failed") for result in found] == [None, "torn"] * 3
