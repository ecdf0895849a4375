"""Rows of studies that are made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.results.rows import Row, collect

SPACE = {"contrast.eta": FloatDistribution(0, 1)}


def _add(study: optuna.Study, state: TrialState, value: float | None, iteration: int, **attrs: Any) -> None:
    metrics = {"iteration": iteration, "mIoU": value, "seconds": 7.0, "IoU/road": 50} if iteration else {}
    study.add_trial(
        create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            params={"contrast.eta": 0.5},
            distributions=SPACE,
            user_attrs={"metrics": metrics, **attrs},
        )
    )


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """A reference and five trials of one seed, each of which has ended in another way; 0002 is the best."""
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))
    _add(study, TrialState.COMPLETE, 30.0, 100)
    _add(study, TrialState.PRUNED, 35.0, 50)
    _add(study, TrialState.COMPLETE, 33.0, 100)
    _add(study, TrialState.FAIL, None, 0, error="loss/source became NaN")
    _add(study, TrialState.RUNNING, 1.0, 20)
    study.enqueue_trial({"contrast.eta": 0.1})
    study.add_trial(create_trial(value=99.0, user_attrs={"warm_start": "of an earlier study#0"}))
    reference.add_trial(create_trial(value=31.0, user_attrs={"metrics": {"iteration": 100, "mIoU": 31.0}}))
    return collect(study, reference, results=tmp_path, seeds=[3])


@pytest.fixture
def with_foreign_trial(tmp_path: Path) -> list[Row]:
    """A trial of the sweep's own, and a complete one that somebody else has added to the study, without metrics."""
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))
    reference.add_trial(create_trial(value=1.0))
    _add(study, TrialState.COMPLETE, 30.0, 100)
    study.add_trial(create_trial(value=99.0, params={"contrast.eta": 0.5}, distributions=SPACE))
    return collect(study, reference, results=tmp_path, seeds=[3])


@pytest.fixture
def seeded(tmp_path: Path) -> list[Row]:
    """Two seeds: a reference, a complete trial, one that was outpaced and one that failed, whose first seed is best."""
    study, reference = (optuna.create_study(direction="maximize") for _ in range(2))

    def trial(state: TrialState, value: float | None, **runs: tuple[str, float]) -> FrozenTrial:
        attrs: dict[str, object] = {}
        for seed, (status, score) in runs.items():
            attrs[f"status-{seed}"] = status
            attrs[f"metrics-{seed}"] = {"iteration": 100, "mIoU": score, "seconds": 2.0}
        return create_trial(
            state=state, value=value, params={"contrast.eta": 0.5}, distributions=SPACE, user_attrs=attrs
        )

    reference.add_trial(trial(TrialState.COMPLETE, 31.0, s0=("complete", 30.0), s5=("complete", 32.0)))
    study.add_trial(trial(TrialState.COMPLETE, 33.0, s0=("complete", 31.0), s5=("complete", 35.0)))
    study.add_trial(trial(TrialState.PRUNED, None, s0=("complete", 20.0)))
    study.add_trial(trial(TrialState.FAIL, None, s0=("complete", 60.0), s5=("failed", 1.0)))
    return collect(study, reference, results=tmp_path, seeds=[0, 5])


@pytest.fixture
def two_objectives(tmp_path: Path) -> list[Row]:
    """A reference that beats all, one of an earlier study that does, and three trials: 0001 and 0003 are the front."""
    study, reference = (optuna.create_study(directions=["maximize", "minimize"]) for _ in range(2))

    def trial(*runs: tuple[float, float], **attrs: Any) -> FrozenTrial:
        for seed, (score, seconds) in enumerate(runs):
            attrs[f"status-s{seed}"] = "complete"
            attrs[f"metrics-s{seed}"] = {"iteration": 100, "mIoU": score, "seconds": seconds}
        means = [sum(values) / len(runs) for values in zip(*runs)]
        return create_trial(values=means, params={"contrast.eta": 0.5}, distributions=SPACE, user_attrs=attrs)

    reference.add_trial(trial((99, 1), (99, 1)))
    study.add_trial(trial((99, 1), (99, 1), warm_start="of an earlier study#0"))
    study.add_trial(trial((20, 5), (22, 7)))
    study.add_trial(trial((28, 9), (32, 91)))
    study.add_trial(trial((30, 50), (31, 30)))
    return collect(study, reference, results=tmp_path, seeds=[0, 1])
