"""Two real processes under torchrun against one, and against each other."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pgpc.config import to_dict

SCRIPT = Path(__file__).with_name("two_processes.py")


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_with_half_the_batch_compute_what_one_does(tmp_path, script):
    """Pseudo-label weight, class choice, feature distance, memory, contrast: values and gradients."""
    alone = script.pieces()
    torchrun(SCRIPT, "pieces", tmp_path)
    ranks = [torch.load(tmp_path / f"{r}.pt") for r in range(2)]
    for name, expected in alone.items():
        parts = torch.cat([rank[name] for rank in ranks])
        if name in ("distance", "loss"):  # each process computes its part of the sum
            parts = parts.sum(0, keepdim=True)
        elif len(parts) != len(expected):  # the same on every process
            assert torch.equal(parts[0], parts[1]), name
            parts = parts[:1]
        torch.testing.assert_close(parts, expected, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert alone["loss"] > 0
    assert alone["distance"] > 0


def test_after_some_steps_all_processes_agree_and_gradients_met_once_per_step(tmp_path, tiny):
    torchrun(SCRIPT, "steps", tmp_path, json.dumps(to_dict(tiny(changes={"contrast.start": 2}))))
    first, second = (torch.load(tmp_path / f"{r}.pt") for r in range(2))
    for part in ("contrast", "student", "teacher"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f"{part} {name}"
    assert first["contrast"]["source.filled"].sum() > 0
    assert first["averaged"] == second["averaged"] == 4
