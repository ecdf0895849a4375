"""What trials are judged on: their mIoU, and where the user asks for it what they cost; and who is best on all of it.

With several objectives there is no best trial but a front: the trials that no other one beats on all of them (Pareto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeps.search.replicates import METRIC

DIRECTIONS: Mapping[str, str] = {METRIC: "maximize", "seconds": "minimize", "gpu_memory": "minimize"}
"""Objective, a metric that trainings report, -> which way is better. Seconds are those of the training steps, a shared
warm-up's included, without evaluations; GPU memory is the most that a process had allocated, in GiB."""


def check(objectives: Sequence[str], *, search: str, scheduler: str | None) -> None:
    """Check that these go together.

    Args:
        objectives: keys of `DIRECTIONS`.
        search: of :data:`sweeps.search.algorithms.SAMPLERS`.
        scheduler: that the user has asked for; None where that is nobody's wish.

    Raises:
        ValueError: they do not.
    """
    if METRIC not in objectives:
        raise ValueError(
            f"--objectives must hold {METRIC}, by which the best trial is kept, but got {','.join(objectives)}. Add it."
        )
    if len(objectives) == 1:
        if search == "nsga2":
            raise ValueError("--search nsga2 is for several --objectives, but got one. Use --search tpe.")
        return
    if scheduler not in (None, "none"):
        raise ValueError(
            "With several --objectives no trial is stopped early, because one that has a lower mIoU may cost less, "
            f"so --scheduler must be none, but got {scheduler}. Leave it out."
        )
    if search == "cmaes":
        raise ValueError("--search cmaes takes one objective, but got several --objectives. Use --search tpe or nsga2.")


def check_workers(objectives: Sequence[str], gpus: float) -> None:
    """Check that workers with this many GPUs each report what is asked for.

    Raises:
        ValueError: they do not.
    """
    if "gpu_memory" in objectives and not gpus:
        raise ValueError(
            "The objective gpu_memory needs workers with a GPU, but these have none. Leave it out of --objectives, or "
            "give --gpus-per-worker."
        )


def front(points: Mapping[str, Sequence[float]], directions: Sequence[str]) -> set[str]:
    """The points that no other one dominates, which is to be nowhere worse and somewhere better.

    Args:
        points: name -> its value of each objective.
        directions: of each, "maximize" or "minimize".
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions]
    better = {name: [s * v for s, v in zip(signs, values, strict=True)] for name, values in points.items()}

    def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    found: dict[str, Sequence[float]] = {}
    # In this order nobody comes before who beats them, and who is beaten is so by somebody on the front.
    for name, mine in sorted(better.items(), key=lambda item: item[1], reverse=True):
        if not any(dominates(other, mine) for other in found.values()):
            found[name] = mine
    return set(found)
