"""Communication between the processes of a training. In a single process every function is the identity."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pgpc.runtime.device import local_device
from pgpc.runtime.launch import launched

__all__ = [
    "all_gather",
    "all_reduce_sum",
    "average_gradients",
    "broadcast_buffers",
    "local_device",
    "no_sync",
    "process_group",
    "rank",
    "replicate",
    "shared_buffers",
    "world_size",
]


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that were started together, and leave them at the end.

    A group that exists already (Ray Train makes one) is used and left alone. Otherwise one is made from the
    environment that torchrun or Slurm sets, see :mod:`pgpc.runtime.launch`; without it there is a single process.

    Args:
        device: The device of this process; it decides how the processes talk, by NCCL or by gloo.

    Raises:
        ValueError: The environment says that there are several processes, but not which of them this one is.
    """
    launch = None if dist.is_initialized() else launched()
    if launch is None:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:  # torchrun's agent may keep the store that they meet at
        dist.init_process_group(backend)
    else:
        meeting = f"tcp://{launch.address}:{launch.port}"
        dist.init_process_group(backend, init_method=meeting, rank=launch.rank, world_size=launch.world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0 to ``world_size() - 1``."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_reduce_sum(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, equal on all of them; the tensor itself may be overwritten."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def all_gather(x: Tensor) -> Tensor:
    """Return the tensors of all W processes, ``(W, *x.shape)``; their shapes must be equal."""
    if world_size() == 1:
        return x[None]
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.stack(parts)


def broadcast_buffers(module: nn.Module) -> None:
    """Overwrite a module's buffers in every process with those of process 0.

    Running statistics differ between processes, since each saw other images.
    """
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


@contextlib.contextmanager
def shared_buffers(module: nn.Module) -> Iterator[None]:
    """Give a module the buffers that it has in process 0, for a while; afterwards each process has its own again.

    Args:
        module: The module; every process must enter.
    """
    own = [buffer.clone() for buffer in module.buffers()] if world_size() > 1 else []
    broadcast_buffers(module)
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, kept in zip(module.buffers(), own):
                buffer.copy_(kept)


def replicate(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module whose gradients are averaged over all processes; the module itself where there is only one."""
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


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of a module that is not replicated over all processes."""
    if world_size() == 1:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            parameter.grad = all_reduce_sum(parameter.grad) / world_size()


def no_sync(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context in which backward passes accumulate gradients without averaging them over processes."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else contextlib.nullcontext()
