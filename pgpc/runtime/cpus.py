"""How many CPUs a process may use: not how many its machine has."""

from __future__ import annotations

import os
from pathlib import Path

_PROC, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_share: int | None = None


def usable_cpus() -> int:
    """Return how many CPUs this process may use, at least 1.

    That is what :func:`use_at_most` says, else the CPUs that it may run on (taskset, Slurm, ``docker --cpuset-cpus``),
    and no more than the time that its control groups give it (``docker --cpus``, Kubernetes), rounded up.
    """
    if _share is not None:
        return _share
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus()
    return found if quota is None else max(1, min(found, -int(-quota // 1)))


def own_cpus() -> int:
    """Return this process's part of the CPUs, at least 1, where a launcher has started several on this machine.

    torchrun says how many it has started. A share that :func:`use_at_most` gives is this process's alone, and Slurm
    binds each task to CPUs of its own.
    """
    beside = 1 if _share is not None else int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return max(1, usable_cpus() // beside)


def use_at_most(cpus: int) -> None:
    """Say how many CPUs this process was given, for whoever starts several and shares them out.

    Args:
        cpus: The number, at least 1.
    """
    global _share
    _share = cpus


def limit_threads() -> None:
    """Let torch compute with no more threads than there are CPUs, unless somebody has said how many.

    It knows which CPUs it may run on, but not how much of their time it gets.
    """
    import torch

    if _share is None and "OMP_NUM_THREADS" not in os.environ and usable_cpus() < torch.get_num_threads():
        torch.set_num_threads(usable_cpus())


def cgroup_cpus(process: Path = _PROC, root: Path = _CGROUPS) -> float | None:
    """Return the CPUs' time per time that control groups give a process; None where they set no limit.

    Args:
        process: The file that names the control groups of the process, in versions 1 and 2.
        root: Where control groups are mounted.
    """
    quotas = []
    try:
        lines = process.read_text().splitlines()
    except OSError:  # another system
        return None
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            quotas += [_quota(*text.split()) for text in _along(root, name, "cpu.max")]
        elif "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                limits = _along(mount, name, "cpu.cfs_quota_us")
                quotas += [_quota(*pair) for pair in zip(limits, _along(mount, name, "cpu.cfs_period_us"))]
    found = [quota for quota in quotas if quota is not None]
    return min(found) if found else None


def _along(mount: Path, name: str, file: str) -> list[str]:
    """Return the contents of a file in a control group and in all that it is part of."""
    group = mount / name.lstrip("/")
    groups = [group, *(parent for parent in group.parents if parent == mount or mount in parent.parents)]
    found = []
    for folder in groups:
        try:
            found.append((folder / file).read_text().strip())
        except OSError:  # a container sees its own group as the root, by another name than the machine's
            continue
    return found


def _quota(limit: str, period: str = "100000") -> float | None:
    return None if limit in ("max", "-1") else int(limit) / int(period)
