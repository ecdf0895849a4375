"""Which device a process takes."""

from __future__ import annotations

import pytest
import torch

from pgpc.runtime.device import arithmetic, check_trainable, choose_device, local_device

MACHINE = {"gpus": 0, "mps": False, "local_rank": 0, "on_cpu": False}


@pytest.mark.parametrize(
    ("wanted", "machine", "device"),
    [
        ("", {}, "cpu"),
        ("", {"gpus": 2}, "cuda:0"),
        ("", {"gpus": 2, "local_rank": 3}, "cuda:1"),
        ("", {"gpus": 2, "on_cpu": True}, "cpu"),
        ("", {"mps": True}, "cpu"),  # only where it is asked for
        ("mps", {"mps": True}, "mps"),
        ("cpu", {"gpus": 2, "mps": True}, "cpu"),
        ("cuda", {"gpus": 1, "mps": True}, "cuda:0"),
    ],
)
def test_the_gpu_is_taken_where_there_is_one_and_macs_where_asked_for(wanted, machine, device) -> None:
    assert str(choose_device(wanted, **{**MACHINE, **machine})) == device


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu", "PGPC_DEVICE must be one of cpu, cuda, mps, but got 'gpu'"),
        ("cuda", "must name a device that this machine has, but got 'cuda'"),
        ("mps", "must name a device that this machine has, but got 'mps'"),
    ],
)
def test_what_is_not_there_is_refused(wanted, message) -> None:
    with pytest.raises(ValueError, match=message):
        choose_device(wanted, **MACHINE)


def test_a_gpu_is_refused_where_processes_have_joined_on_cpus() -> None:
    with pytest.raises(ValueError, match="PGPC_DEVICE must be cpu where processes have joined by gloo, but got 'cuda'"):
        choose_device("cuda", gpus=2, mps=False, local_rank=0, on_cpu=True)


def test_the_environment_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPC_DEVICE", "cpu")
    assert str(local_device()) == "cpu"
    monkeypatch.setenv("PGPC_DEVICE", "tpu")
    with pytest.raises(ValueError, match="PGPC_DEVICE"):
        local_device()


def test_what_lacks_double_precision_is_not_trained_on() -> None:
    check_trainable(torch.device("cpu"))
    check_trainable(torch.device("cuda", 0))
    with pytest.raises(ValueError, match="double precision, .* but got 'mps'. Set PGPC_DEVICE=cpu"):
        check_trainable(torch.device("mps"))


@pytest.mark.parametrize(("exact", "expected"), [(False, ("high", True, True)), (True, ("highest", False, False))])
def test_arithmetic_of_a_gpu_is_that_of_the_config_for_a_while(exact, expected) -> None:
    cudnn = torch.backends.cudnn

    def settings():
        return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark

    before = settings()
    with pytest.raises(RuntimeError, match="gone wrong"), arithmetic(torch.device("cuda"), exact=exact):
        assert settings() == expected
        raise RuntimeError("gone wrong")
    assert settings() == before
    with arithmetic(torch.device("cpu"), exact=exact):
        assert settings() == before
