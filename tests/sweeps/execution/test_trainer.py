"""What a slot does not pay for."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
import ray.train
from sweeps.execution.slots.worker import serve
from sweeps.execution.trainer import Trainer
trainer = Trainer(
    serve,
    on_workers=print,
    directory=lambda: None,
    scaling_config=ray.train.ScalingConfig(num_workers=2),
    run_config=ray.train.RunConfig(name="slot"),
)
print(*(type(callback).__name__ for callback in trainer._create_default_callbacks()))
print("torch" in sys.modules)
"""


@pytest.mark.slow
def test_neither_torch_nor_processes_of_trains_own_where_a_slot_is() -> None:
    output = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    callbacks, torch = output.splitlines()
    assert torch == "False"
    assert "BackendSetupCallback" in callbacks
    assert "DatasetsCallback" not in callbacks and "PlacementGroupCleanerCallback" not in callbacks
