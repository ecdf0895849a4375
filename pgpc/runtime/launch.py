"""How the processes of a training were started together, and which of them this one is, by the environment alone.

torchrun says so in variables of its own. In a job step of Slurm (``srun``) the scheduler does, and no other launcher is
needed. Nothing here imports torch: commands ask who speaks before they load anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from pgpc.runtime.checks import check

_FIRST_PORT, _PORTS = 10_000, 20_000
"""Ports of Slurm's steps: below those that the system gives to anybody who asks for one."""


class Launch(NamedTuple):
    """One of several processes that were started together.

    Attributes:
        rank: Number of the process, from 0.
        world_size: Number of processes.
        local_rank: Number of the process on its machine.
        address: Host of process 0.
        port: Port on which process 0 waits for the others.
    """

    rank: int
    world_size: int
    local_rank: int
    address: str
    port: int


def launched(environ: Mapping[str, str] = os.environ) -> Launch | None:
    """Return which of several processes this is; None for one that was started alone.

    ``RANK`` and ``WORLD_SIZE``, which torchrun sets, count where both are there. Else the tasks of a step of Slurm are
    the processes: ``SLURM_PROCID`` and ``SLURM_STEP_NUM_TASKS``. The first host of the step and a port that follows
    from the numbers of job and step are where they meet, unless ``MASTER_ADDR`` and ``MASTER_PORT`` name others.
    ``WORLD_SIZE=1`` by itself makes every process train alone.

    Args:
        environ: The environment.

    Raises:
        ValueError: The environment says that there are several processes, but not which of them this one is; or
            torchrun's variables contradict Slurm's.
    """
    size = environ.get("WORLD_SIZE", "1")
    check(size.isdecimal() and int(size) > 0, "WORLD_SIZE must be a number of processes", size, "Unset it.")
    by_slurm = not {"RANK", "WORLD_SIZE"} <= environ.keys() and environ.get("WORLD_SIZE") != "1"
    if by_slurm and (found := _slurm_step(environ)) is not None:
        return found
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environ]
    check(
        int(size) == 1 or not missing,
        f"WORLD_SIZE above 1 needs {', '.join(missing)} too, which torchrun sets",
        size,
        "Start the processes with torchrun, or unset WORLD_SIZE to train in one.",
    )
    if "WORLD_SIZE" not in environ or missing:
        return None
    local = _number(environ, "LOCAL_RANK", default="0")
    rank, port = _number(environ, "RANK"), _number(environ, "MASTER_PORT")
    return Launch(rank, int(size), local, environ["MASTER_ADDR"], port)


def is_first() -> bool:
    """Return whether this is process 0, which speaks for all; also where the environment contradicts itself."""
    try:
        found = launched()
    except ValueError:  # said where the processes are to meet
        found = None
    return found is None or found.rank == 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, 0 where nobody says so."""
    number = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID", "")
    return int(number) if number.isdecimal() else 0


def first_host(nodes: str) -> str:
    """Return the first host of a list of nodes, as ``scontrol show hostnames`` expands it.

    Args:
        nodes: A list as Slurm writes it, such as ``"gpu[01-03,07],login"`` or ``"rack[1-2]node[4,6]"``.

    Raises:
        ValueError: It is no such list.
    """
    # The first entry ends at the first comma that stands outside of brackets.
    entry = re.fullmatch(r"((?:[^\[\],]|\[[^\[\]]+\])+)(?:,.*)?", nodes)
    host = re.sub(r"\[([^\[\],-]+)[^\[\]]*\]", r"\1", entry[1]) if entry else ""
    check(
        re.fullmatch(r"[\w.:-]+", host) is not None,
        "The list of nodes of a Slurm step must name hosts, such as gpu[01-03],login",
        nodes,
        "Set MASTER_ADDR to the host of the first task.",
    )
    return host


def _slurm_step(environ: Mapping[str, str]) -> Launch | None:
    """Return which task of a step of Slurm this is; None outside of one, and of a step that has one task.

    The variables of a step, and not those of its job, tell that ``srun`` has started this process: a batch script, and
    what it runs without ``srun``, is one process, however many tasks the job may start.
    """
    if "SLURM_PROCID" not in environ or environ.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return None
    rank, size = _number(environ, "SLURM_PROCID"), _number(environ, "SLURM_STEP_NUM_TASKS")
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        check(
            environ.get(name, str(value)) == str(value),
            f"{name} must be what Slurm says ({value}) or be unset, where srun starts the processes",
            environ.get(name),
            f"Unset {name}; WORLD_SIZE=1 lets every task train alone.",
        )
    job, step = _number(environ, "SLURM_JOB_ID"), _number(environ, "SLURM_STEP_ID", default="0")
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    return Launch(
        rank=rank,
        world_size=size,
        local_rank=_number(environ, "SLURM_LOCALID"),
        address=environ.get("MASTER_ADDR") or first_host(nodes),
        # Steps that run side by side, of one job or of several, have different ports as far as they can.
        port=_number(environ, "MASTER_PORT", default=str(_FIRST_PORT + (job * 101 + step) % _PORTS)),
    )


def _number(environ: Mapping[str, str], name: str, default: str = "") -> int:
    value = environ.get(name, default)
    check(value.isdecimal(), f"{name} must be a number where several processes train together", value)
    return int(value)
