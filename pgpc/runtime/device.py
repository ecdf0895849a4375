"""The device of a process: which one is taken, and what can be trained on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from pgpc.runtime.checks import check
from pgpc.runtime.launch import local_rank

VARIABLE = "PGPC_DEVICE"
"""Variable of the environment that names the kind of device: one of `KINDS`."""
KINDS = ("cpu", "cuda", "mps")


def local_device() -> torch.device:
    """Return the device of this process: its GPU where there is one, else the CPU; or what ``PGPC_DEVICE`` names.

    Raises:
        ValueError: ``PGPC_DEVICE`` names no kind of device, or one that this machine does not have.
    """
    # A group that exists already, on gloo, was made by somebody who wants the CPU although there may be GPUs.
    on_gloo = dist.is_initialized() and dist.get_backend() == "gloo"
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = choose_device(
        os.environ.get(VARIABLE, ""),
        gpus=gpus,
        mps=torch.backends.mps.is_available(),
        local_rank=local_rank(),
        on_cpu=on_gloo,
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)  # or every process would also keep a context on the first GPU
    return device


def choose_device(wanted: str, *, gpus: int, mps: bool, local_rank: int, on_cpu: bool) -> torch.device:
    """Return the device of a process.

    A Mac's GPU (mps) is taken only where it is asked for: it lacks double precision, see :func:`check_trainable`.

    Args:
        wanted: The kind of device that was asked for, one of `KINDS`; empty for the best that is tried and known.
        gpus: Number of CUDA devices that the process sees.
        mps: Whether there is a Mac's GPU.
        local_rank: Number of the process on its machine; processes share GPUs where there are more of them.
        on_cpu: Whether the processes have joined on CPUs already.

    Raises:
        ValueError: There is no such kind of device, this machine has none, or the processes cannot talk on it.
    """
    check(wanted in ("", *KINDS), f"{VARIABLE} must be one of {', '.join(KINDS)}", wanted, "Or unset it.")
    there = {"cpu": True, "cuda": gpus > 0, "mps": mps}
    check(there.get(wanted, True), f"{VARIABLE} must name a device that this machine has", wanted, "Unset it.")
    check(
        wanted != "cuda" or not on_cpu,
        f"{VARIABLE} must be cpu where processes have joined by gloo",
        wanted,
        "Unset it.",
    )
    if wanted == "mps":
        return torch.device("mps")
    if wanted == "cpu" or on_cpu or not gpus:
        return torch.device("cpu")
    return torch.device("cuda", local_rank % gpus)


def check_trainable(device: torch.device) -> None:
    """Refuse a device that a training cannot be computed on, before anything is made.

    Raises:
        ValueError: It is a Mac's GPU: it has no double precision, in which pseudo-label weights, prototypes of the
            memory bank and the means of curves are summed.
    """
    check(
        device.type != "mps",
        "Training needs a device with double precision, in which pseudo-labels, memory bank and curves are summed",
        device.type,
        f"Set {VARIABLE}=cpu; a Mac's GPU is for networks that are trained.",
    )


@contextlib.contextmanager
def arithmetic(device: torch.device, *, exact: bool) -> Iterator[None]:
    """Let a GPU compute as fast as it can for a while, or as exactly; a CPU computes as ever.

    Fast are products of float32 with factors of TF32, and those kernels of cuDNN that it finds to be the fastest for
    the shapes at hand. What was chosen is in the record of each start, `pgpc.runtime.environment.Environment`.

    Args:
        device: The device; nothing changes on another one than a GPU of CUDA.
        exact: Whether products keep all bits, and kernels are the same each time.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    tf32, benchmark = cudnn.allow_tf32, cudnn.benchmark
    torch.set_float32_matmul_precision("highest" if exact else "high")
    cudnn.allow_tf32 = cudnn.benchmark = not exact
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32, cudnn.benchmark = tf32, benchmark
