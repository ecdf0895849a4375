from __future__ import annotations

from pathlib import Path

import pytest

import pgpc
from sweeps.execution.joining import shared_folder
from sweeps.execution.slots.training_process import Servers
from sweeps.execution.slots.worker import Train, _begin
from sweeps.search.trial_spec import TrialSpec, Workers


def test_a_worker_that_does_not_see_the_runs_folder_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another node a folder of that name may be another one, in which results would be lost."""
    monkeypatch.setattr(shared_folder, "PATIENCE", 0.3)
    workers = Workers(count=1, cpus=1, gpus=0.0, threads=1)
    spec = TrialSpec(label="0", config=pgpc.preset("streets"), directory=tmp_path / "run", workers=workers)
    with pytest.raises(ValueError, match="what the head has written in .*run is not there on"):
        _begin(Servers(), Train(plain=spec.to_plain(), address="127.0.0.1", port=1))
    assert list(tmp_path.iterdir()) == []
