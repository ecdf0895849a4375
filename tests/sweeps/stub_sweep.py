"""The sweep's command with trainings of seconds: real driver, Ray, Tune, Optuna and files, but nothing is trained.

    python tests/sweeps/stub_sweep.py FLAGS      as run_ablation.py; `training.iterations` reports of SECONDS each

A trial keeps its checkpoint in its directory and resumes from it, as a training does. What it scores depends on its
parameters and its iteration alone, and the checkpoint counts the iterations that led to it, so that one that was done
twice, or left out, shows in what the trial reports in the end. As long as there is a file "cause" in the storage, every
trial fails, with its text.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import DONE

from sweeps import preparation, run_ablation
from sweeps.execution import tune_run
from sweeps.search.trial_spec import FAILURE, REPORT

SECONDS = 0.25


class Stub(tune.Trainable):
    """Stands in for `sweeps.execution.slots.slot.Slot`."""

    def setup(self, config: dict[str, Any]) -> None:
        self._results = run_trial(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        return next(self._results, {DONE: True})


def run_trial(plain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a trial reports, one after the other."""
    directory = Path(plain["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "checkpoint_stub" / "checkpoint.pt"
    file.parent.mkdir(exist_ok=True)
    (directory / "config.json").write_text(plain["config"])
    cause = directory.parents[2] / "cause"
    if cause.exists():
        yield {FAILURE: f"OSError: {cause.read_text()}", DONE: True}
        return
    config = json.loads(plain["config"])
    done = json.loads(file.read_text()) if file.exists() else {"iteration": 0, "seconds": 0}
    if done["iteration"]:
        yield {REPORT: done}
    while done["iteration"] < config["training"]["iterations"]:
        time.sleep(SECONDS)
        iteration = done["iteration"] + 1
        done = {"iteration": iteration, "seconds": done["seconds"] + 1, "mIoU": score(config["contrast"], iteration)}
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(done))
        partial.rename(file)
        yield {REPORT: done}


def score(contrast: dict[str, Any], iteration: int) -> float:
    """In percent."""
    return 50 - 20 * abs(contrast["eta"] - 0.3) + 5 * math.log(iteration) - abs(math.log10(contrast["weight"]) + 1)


class NoServer:
    """Nothing is forked."""

    address = ""

    def __init__(self, *, as_fork: bool = False, encoders_of_timm: bool = True) -> None:
        pass

    def close(self) -> None:
        pass


def install() -> None:
    """Lets trials of this process's sweeps report without training anything."""
    tune_run.Slot = Stub
    preparation.check_model = lambda *checked, **bands: None  # this and the next take seconds, for each of many drivers
    preparation.check_data = lambda *checked: []
    preparation.checkpoint_bytes = lambda config: 1000
    preparation.ForkServer = NoServer


if __name__ == "__main__":
    install()
    sys.exit(run_ablation.main())
