"""What one process must know of the others. Every function also works in a single process, as the identity."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that were started together; leave them at the end.

    A group that exists already (Ray Train makes one) is used and left alone. Otherwise one is made from the
    environment that torchrun sets; without it there is a single process.
    """
    if dist.is_initialized() or "WORLD_SIZE" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def local_device() -> torch.device:
    """The device of this process: its GPU where there is one, else the CPU."""
    # A group that exists already, on gloo, was made by somebody who wants the CPU although there may be GPUs.
    if not torch.cuda.is_available() or (dist.is_initialized() and dist.get_backend() == "gloo"):
        return torch.device("cpu")
    # torchrun and Ray Train both tell each process its number on the machine.
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    torch.cuda.set_device(device)  # or every process would also keep a context on the first GPU
    return device


def rank() -> int:
    """Number of this process, 0 to `world_size` - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of `x` over all processes, equal on all of them. `x` itself may be overwritten."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def all_gather(x: Tensor) -> Tensor:
    """``(W, *x.shape)``: the `x` of every process."""
    if world_size() == 1:
        return x[None]
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.stack(parts)


def broadcast_buffers(module: nn.Module) -> None:
    """Give every process the buffers of process 0 (running statistics differ, each process saw other images)."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def replicate(module: nn.Module, device: torch.device) -> nn.Module:
    """`module` with gradients averaged over processes; itself where there is one process."""
    if world_size() == 1:
        return module
    with warnings.catch_warnings():
        # What is to replace the argument is newer than the oldest torch that works.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        # Buffers are not sent at every forward: running statistics are only read in evaluation, see broadcast_buffers.
        return DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def no_sync(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Within it, backward passes accumulate gradients without averaging them over processes."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else contextlib.nullcontext()
