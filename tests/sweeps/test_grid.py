"""A grid in whole sweeps of stubs: every point once, whatever is asked for beside it, and after a resumption too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

STUB = Path(__file__).parent / "stub_sweep.py"
RANGES = {"contrast.r": "3,4", "contrast.eta": "0.3,0.5"}


def points(storage: Path) -> list[tuple[int, float]]:
    study = optuna.load_study(study_name="grid", storage=f"sqlite:///{storage / 'grid' / 'study.db'}")
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    return [(trial.params["contrast.r"], trial.params["contrast.eta"]) for trial in study.trials]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_point_once(start: Callable[..., Any], tiny: list[str], tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text(json.dumps(RANGES))
    flags = ["--search", "grid", "--space", space, "--trials", 9, "--scheduler", "none", "--workers", 1]
    enqueued = ["--enqueue", "contrast.r=4,contrast.eta=0.3"]
    storage = tmp_path / "results"
    first = start("--storage", storage, "--name", "grid", "--concurrency", 1, *flags, *enqueued, *tiny, script=STUB)
    first.wait_for("0001  iteration")
    assert "There are 4 trials instead of 9, because the grid has no more points" in first.output
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert first.leaves_nothing()

    second = start("--storage", storage, "--resume", "grid", "--trials", 40, *enqueued, script=STUB)
    assert second.wait() == 0, second.output
    assert "There are 4 trials instead of 40" in second.output
    assert "Of the points of --enqueue the search has 1 already" in second.output
    found = points(storage)
    assert sorted(found) == [(3, 0.3), (3, 0.5), (4, 0.3), (4, 0.5)]
    assert found[1] == (4, 0.3), "the user's point comes behind the preset's own"
