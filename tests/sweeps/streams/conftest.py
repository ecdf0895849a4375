"""A sweep that tells a stream what happens to its runs, as `StudySearcher` does, without running any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution

from sweeps.common.names import REFERENCE_LABEL, Event
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.selection import BY_MIOU
from sweeps.definition.sweep import Sweep
from sweeps.search import replicates
from sweeps.search.searcher import Run

SPACE = {"contrast.eta": FloatDistribution(0, 1)}


class Told:
    """Makes runs, and tells a stream about them."""

    def __init__(self, folder: Path, seeds: tuple[int, ...] = (0,), **options: Any):
        self.seeds = seeds
        self.sweep = new_sweep(SweepOptions(storage=str(folder), name="first", **options))
        self.sweep.folder.mkdir()
        self.sweep.save()
        self.study = optuna.create_study(direction="maximize")

    def resumed(self) -> Sweep:
        """The sweep as the next driver knows it."""
        found = Sweep.load(self.sweep.folder)
        found.save()
        return found

    def run(self, eta: float | None, seed: int = 0, **metrics: float) -> Run:
        """A run of a new trial, or of the reference; with metrics one that an earlier driver has begun."""
        if eta is not None:
            self.study.enqueue_trial({"contrast.eta": eta})
        trial = self.study.ask(SPACE if eta is not None else {})
        label = REFERENCE_LABEL if eta is None else f"{trial.number:04d}"
        return Run(
            label=label + replicates.suffix(seed, self.seeds),
            trial_label=label,
            seed=seed,
            iterations=100,
            study=self.study,
            trial=trial,
            selection=BY_MIOU,
            metrics=metrics,
        )


def report(stream, run: Run, iteration: int, score: float, event: Event = Event.REPORTED) -> None:
    """Tells a stream of a report."""
    run.metrics = {"iteration": iteration, "mIoU": score, "seconds": 2.0 * iteration, "IoU/traffic light": 7.5}
    stream.event(event, run)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)
