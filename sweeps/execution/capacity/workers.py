"""How many workers a trial gets, what each of them occupies, and how many trials run at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeps.common.words import count, gigabytes
from sweeps.definition.options import DEFAULT_WORKERS, SMALLEST_SHARE
from sweeps.search.trial_spec import Workers

HEAD_BYTES = 1.1e9
"""Memory that a trial takes on the head, whatever its workers run on; see :mod:`sweeps.execution.resources`."""
_MOST_CPUS = 8  # of a worker, for loading data
Nodes = Sequence[Mapping[str, float]]
"""The resources of each node of a cluster, as Ray names them."""


def default_workers(
    nodes: Nodes, num: int | None, cpus: float | None, gpus: float | None, batch_sizes: Sequence[int] = ()
) -> Workers:
    """Return the workers of a trial where flags leave something open.

    A worker takes one GPU where the cluster has any, with that GPU's share of the CPUs (at most 8, for loading data);
    without GPUs it takes one CPU. There are two of them, or one where two do not fit, or cannot share a batch evenly.

    Args:
        nodes: The resources of each node.
        num: The number of workers; None where the user has not said it.
        cpus: CPUs of each worker; None where the user has not said it.
        gpus: GPUs of each worker; None where the user has not said it.
        batch_sizes: The batch sizes of the trainings, each of which the workers share.

    Raises:
        ValueError: Several workers would have to share a GPU.
    """
    cluster_gpus = _total(nodes, "GPU")
    if gpus is None:
        gpus = 1 if cluster_gpus else 0
    if cpus is None:
        of_gpus = sum(_units(node.get("CPU", 0)) for node in nodes if node.get("GPU"))
        share = of_gpus * _units(gpus) // (_units(cluster_gpus) * _units(1)) if cluster_gpus else 0
        cpus = max(1, min(_MOST_CPUS, share))
    shares_gpu = 0 < gpus < 1
    if num is None:
        one = Workers(count=1, cpus=cpus, gpus=gpus)
        fits = places(nodes, one) >= DEFAULT_WORKERS and all(size % DEFAULT_WORKERS == 0 for size in batch_sizes)
        num = DEFAULT_WORKERS if fits and not shares_gpu else 1
    if shares_gpu and num > 1:
        raise ValueError(
            f"Workers of one trial cannot share a GPU, but got --gpus-per-worker {gpus:g} with --workers {num}. "
            "Use --workers 1, or whole GPUs."
        )
    return Workers(count=num, cpus=cpus, gpus=gpus)


def places(nodes: Nodes, workers: Workers) -> int:
    """Return how many of these workers fit at the same time, of however many runs.

    Args:
        nodes: The resources of each node.
        workers: What each of them occupies; their number plays no part.
    """
    needs = {kind: _units(amount) for kind, amount in (("CPU", workers.cpus), ("GPU", workers.gpus)) if amount}
    return sum(min(_units(node.get(kind, 0)) // need for kind, need in needs.items()) for node in nodes)


def trial_slots(nodes: Nodes, workers: Workers) -> int:
    """Return how many runs fit at the same time.

    Args:
        nodes: The resources of each node.
        workers: The workers of a run.

    Raises:
        ValueError: Not even one fits.
    """
    found = places(nodes, workers)
    if found >= workers.count:
        return found // workers.count
    cpus, gpus = _total(nodes, "CPU"), _total(nodes, "GPU")
    has = f"{count(len(nodes), 'node')} with {cpus:g} CPUs and {gpus:g} GPUs in all"
    remedy = "--gpus-per-worker 0 to train on CPUs, " if workers.gpus > gpus / workers.count else ""
    fewer = "fewer --workers (a sweep that is resumed keeps its number), " if workers.count > 1 else ""
    raise ValueError(
        f"A trial asks for {workers}, but the cluster has {has}, which has room for {found} such workers. "
        f"Use {remedy}{fewer}or fewer --cpus-per-worker."
    )


def concurrency(asked: int | None, slots: int, runs: int, head_memory: float | None) -> tuple[int, str]:
    """Return how many runs are trained at the same time, and a sentence on what the head's memory has to do with it.

    Args:
        asked: What the user has said; None for as many as there is room for.
        slots: How many fit, by what the workers occupy.
        runs: How many there are to train.
        head_memory: Bytes of memory that the head has free; None where nobody knows.

    Returns:
        The number, and the sentence, "" where the memory is enough.

    Raises:
        ValueError: The user asks for more than fit.
    """
    if (asked or 0) > slots:
        raise ValueError(f"--concurrency must be at most {slots}, which is what fits, but got {asked}.")
    wanted = asked or min(slots, runs)
    room = wanted if head_memory is None else max(1, int(head_memory // HEAD_BYTES))
    if wanted <= room or head_memory is None:
        return wanted, ""
    cause = (
        f"each run takes {gigabytes(HEAD_BYTES)} of memory on the head, of which {gigabytes(head_memory)} are free: "
        f"enough for {room}"
    )
    if asked:
        return asked, f"--concurrency {asked} may be too much, since {cause}."
    return (
        room,
        f"At a time {count(room, 'run')} will be trained and not the {wanted} that fit the workers, since {cause}.",
    )


def _total(nodes: Nodes, kind: str) -> float:
    return sum(_units(node.get(kind, 0)) for node in nodes) / _units(1)


def _units(amount: float) -> int:
    """Return an amount in the unit in which Ray counts: as floats, five times 0.2 may be more than 1."""
    return round(amount / SMALLEST_SHARE)
