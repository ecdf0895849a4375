"""What crosses to the processes of a run is plain data and costs them no import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pgpc
from sweeps.search.trial_spec import TrialSpec, Workers

CONFIG = pgpc.preset("streets")
WORKERS = Workers(count=2, cpus=1.5, gpus=0.5, threads=3)


def test_a_spec_survives_its_journey() -> None:
    for spec in (
        TrialSpec(label="base", config=CONFIG, directory=Path("/a/base"), workers=WORKERS),
        TrialSpec(
            label="0001-s1",
            config=pgpc.override(CONFIG, {"seed": 1, "contrast.eta": 0.3}),
            directory=Path("/a/0001-s1"),
            workers=WORKERS,
            trunk=Path("/warmups/x"),
            parent=Path("/a/0001/parent"),
            until=4,
            compared=("contrast.eta", "seed"),
            data={"/data (train)": "0a1b"},
            accept_changed_data=True,
        ),
    ):
        plain = spec.to_plain()
        assert TrialSpec.from_plain(json.loads(json.dumps(plain))) == spec
        assert isinstance(plain["config"], str) and isinstance(plain["directory"], str)


def test_workers_in_words() -> None:
    assert str(WORKERS) == "2 workers x 1.5 CPU and 0.5 GPU"
    assert str(Workers(count=1, cpus=1, gpus=0)) == "1 worker x 1 CPU"


def test_reading_a_spec_loads_neither_torch_nor_ray_nor_optuna() -> None:
    code = "import sys, sweeps.search.trial_spec; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sweeps.search.trial_spec" in loaded
    assert not {"torch", "ray", "optuna"} & set(loaded)
