"""Communication between processes: two real ones on gloo, and the identity in one."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pgpc.bases.state import make_student
from pgpc.models.student import ForwardRequest
from pgpc.runtime import distributed

CPU = torch.device("cpu")


def _module(rank: int) -> nn.Module:
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    with torch.no_grad():
        module[0].weight.fill_(2.0)
        module[1].running_mean.fill_(float(rank))
    return module.eval()


def _process(rank: int, port: int, folder: Path) -> None:
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with distributed.process_group(CPU):
        x = torch.tensor([1.0, 10.0]) * (rank + 1)
        module = _module(rank)
        with distributed.shared_buffers(module):
            shared = module[1].running_mean.clone()
        own = module[1].running_mean.clone()
        distributed.broadcast_buffers(module)
        replica = distributed.replicate(nn.Linear(1, 1, bias=False), CPU)
        with torch.no_grad():
            next(replica.parameters()).fill_(1.0)
        replica(torch.tensor([[float(rank)]])).sum().backward()
        averaged = next(replica.parameters()).grad.clone()
        replica.zero_grad()
        with distributed.no_sync(replica):
            replica(torch.tensor([[float(rank)]])).sum().backward()
        torch.save(
            {
                "rank": (distributed.rank(), distributed.world_size()),
                "gathered": distributed.all_gather(x),
                "sum": distributed.all_reduce_sum(x),
                "mean": module[1].running_mean,
                "mean for a while": (shared, own),
                "replicated": isinstance(replica, DistributedDataParallel),
                "averaged": averaged,
                "own": next(replica.parameters()).grad,
                "device": str(distributed.local_device()),
            },
            folder / f"{rank}.pt",
        )
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, args=(port, tmp_path), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["rank"] == (rank, 2) and found["device"] == "cpu"
        assert found["sum"].tolist() == [3.0, 30.0]
        assert found["gathered"].tolist() == [[1.0, 10.0], [2.0, 20.0]]
        assert found["mean"].tolist() == [0.0]  # process 0's
        assert [mean.item() for mean in found["mean for a while"]] == [0.0, rank]
        assert found["replicated"] and found["averaged"].tolist() == [[0.5]]
        assert found["own"].tolist() == [[float(rank)]]


def test_one_process_is_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    module, x = _module(5), torch.tensor([1.0])
    with distributed.process_group(CPU):
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        assert distributed.all_reduce_sum(x) is x and distributed.all_gather(x).tolist() == [[1.0]]
        assert distributed.replicate(module, CPU) is module
        distributed.broadcast_buffers(module)
        assert module[1].running_mean.tolist() == [5.0]
        with distributed.no_sync(module):
            pass


def test_a_world_of_one_needs_no_number_and_a_larger_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with distributed.process_group(CPU):
        assert not torch.distributed.is_initialized()
    for size, message in (("2", r"needs RANK, MASTER_ADDR, MASTER_PORT too, .* got '2'.*torchrun"), ("", "number of")):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(ValueError, match=message), distributed.process_group(CPU):
            pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_lie_as_the_buckets_they_are_averaged_in(tiny, precision):
    """Where a stride differs torch copies the gradient into the bucket at each step, and says so once."""
    config = tiny("streets/daformer", {"model.dropout": 0.0, "training.precision": precision})
    student = make_student(config)
    images = torch.randn(1, 3, 64, 64)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.set_warn_always(True)
    try:
        replica = DistributedDataParallel(student, gradient_as_bucket_view=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Grad strides do not match bucket view strides")
            replica(ForwardRequest(images))[0].logits.sum().backward()
    finally:
        torch.set_warn_always(False)
        dist.destroy_process_group()
