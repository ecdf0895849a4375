"""How well two processes share the step's work: the same processes with and without communication, in turns in one run.

    python -m tests.benchmarks.step_processes [--encoder mit_b0] [--crop 128] [--steps 3] [--repetitions 4]
                                              [--processes 2]

Two processes, one thread each (on GPUs: one GPU each), make steps of DAFormer with PGPC on one source and one target
image each: as one run (gradients averaged, batch norm and the contrast's draws over both), and side by side as two
runs that know nothing of each other. Wall-clock times of the two ways, so that both have the same company on the
machine: what the second takes of the first is the efficiency, the rest is the share of communication and waiting.

Measured on 2 shared CPU cores, 2026-11-23, gloo: MiT-B0 at 64 pixels 0.78 and, in another run, 0.82; what is sent does
not grow with the crop, so larger ones do better. Nothing on GPUs.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pgpc.bases import make_base
from pgpc.runtime import distributed
from tests.benchmarks import timing
from tests.benchmarks.timing import make_batch, make_config, make_state


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let a process believe that there is no other."""
    known = distributed.world_size, distributed.rank
    distributed.world_size, distributed.rank = lambda: 1, lambda: 0
    try:
        yield
    finally:
        distributed.world_size, distributed.rank = known


def work(rank: int, processes: int, port: int, encoder: str, crop: int, steps: int, repetitions: int) -> None:
    """Make the steps of one of the processes; the first one prints."""
    torch.set_num_threads(1)
    if torch.cuda.device_count() >= processes:
        timing.DEVICE = torch.device("cuda", rank)
        torch.cuda.set_device(rank)
        backend = "nccl"
    else:
        timing.DEVICE, backend = torch.device("cpu"), "gloo"
    dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", world_size=processes, rank=rank)
    config = make_config("gta5-cityscapes/daformer+pgpc", encoder, crop, {"training.batch_size": 1})
    base, batch = make_base(config), make_batch(config)
    shared = make_state(config)
    with alone():
        own = make_state(config)
    times: dict[str, list[float]] = {"shared": [], "alone": []}
    for turn in range(repetitions + 1):
        for name, state, context in (("shared", shared, contextlib.nullcontext), ("alone", own, alone)):
            dist.barrier()
            start = time.perf_counter()
            with context():
                for _ in range(steps):
                    log = base.step(state, batch)
                log["loss/source"].item()  # waits for a GPU
            dist.barrier()  # until the slower one is done
            if turn > 0:
                times[name].append((time.perf_counter() - start) / steps)
    if rank == 0:
        shared_s, alone_s = (np.array(times[name]) for name in ("shared", "alone"))
        efficiency = np.median(alone_s / shared_s)
        print(
            f"{encoder}, crop {crop}: {processes} processes {np.median(shared_s):.3f} s per step, runs side by side "
            f"{np.median(alone_s):.3f} s: efficiency {efficiency:.2f}, communication {1 - efficiency:.2f}"
        )
    dist.destroy_process_group()


def main() -> None:
    """Start the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mit_b0", help="(default: %(default)s)")
    parser.add_argument("--crop", type=int, default=128, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="of a turn (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=4, help="turns (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = (arguments.encoder, arguments.crop, arguments.steps, arguments.repetitions)
    mp.spawn(work, (arguments.processes, port, *sizes), nprocs=arguments.processes)


if __name__ == "__main__":
    main()
