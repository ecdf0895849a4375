"""What is recorded of where a run computes, and how it is told from another place."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from pgpc.runtime.environment import Environment

CPU = torch.device("cpu")


def test_it_survives_json_and_says_what_matters() -> None:
    here = Environment.here(CPU)
    assert Environment.from_json(json.loads(json.dumps(here.to_json()))) == here
    assert here.threads == torch.get_num_threads() and here.device.startswith("cpu (")
    assert here.versions["torch"].startswith(torch.__version__.partition("+")[0])
    assert {"python", "timm", "numpy", "pillow", "pyarrow"} <= here.versions.keys()
    assert here.determinism["deterministic_algorithms"] == "False"


def test_differences_are_named() -> None:
    here = Environment.here(CPU)
    assert here.differences(here) == []
    other = dataclasses.replace(
        here,
        threads=here.threads + 1,
        versions={**here.versions, "torch": "9.9"},
        determinism={**here.determinism, "cudnn.benchmark": "True"},
    )
    assert here.differences(other) == [
        f"threads {here.threads}, now {here.threads + 1}",
        f"torch {here.versions['torch']}, now 9.9",
        "cudnn.benchmark False, now True",
    ]


@pytest.mark.parametrize(
    "name", ["CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "ONEDNN_DEFAULT_FPMATH_MODE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"]
)
def test_variables_by_which_libraries_compute_otherwise_are_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    before = Environment.here(CPU)
    monkeypatch.setenv(name, "BF16")
    assert before.differences(Environment.here(CPU)) == [f"{name} none, now BF16"]


def test_threads_of_the_cpu_do_not_count_on_a_gpu() -> None:
    gpu = dataclasses.replace(Environment.here(CPU), device="A GPU", threads=1)
    assert gpu.differences(dataclasses.replace(gpu, threads=8)) == []
    assert gpu.differences(dataclasses.replace(gpu, device="Another")) == ["device A GPU, now Another"]
