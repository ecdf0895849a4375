"""What trials are judged on: their mIoU, and where the user asks for it what they cost; and who is best on all of it.

With several objectives there is no best trial but a front: the trials that no other one beats on all of them (Pareto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeps.common.names import METRIC


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric that trainings report and that trials can be judged on."""

    name: str
    direction: Literal["maximize", "minimize"]
    """Which way is better."""
    help: str
    """What it is, for the command's help."""
    axis: str
    """The same with its unit, as the title of a chart's axis."""
    measured: str
    """How it is measured, in a sentence for the report; "" where that goes without saying."""
    needs_gpu: bool = False
    """Whether only workers with a GPU report it."""


OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name=METRIC,
            direction="maximize",
            help="the score, which is always among them",
            axis=f"{METRIC}, %",
            measured="",
        ),
        # Evaluations do not count.
        Objective(
            name="seconds",
            direction="minimize",
            help="seconds of training",
            axis="seconds of training",
            measured="Seconds are those of the training steps, a shared trunk's included.",
        ),
        Objective(
            name="gpu_memory",
            direction="minimize",
            help="the most GiB that a process had allocated",
            axis="GPU memory, GiB",
            measured="GPU memory is the most that tensors of a process occupied, in GiB.",
            needs_gpu=True,
        ),
    )
}
"""Every objective by its name."""
DIRECTIONS: Mapping[str, Literal["maximize", "minimize"]] = {
    name: objective.direction for name, objective in OBJECTIVES.items()
}
"""Which way is better, by the objective's name."""
COSTS = frozenset(name for name, objective in OBJECTIVES.items() if objective.direction == "minimize")
"""Names of the objectives beside the score."""


def direction(name: str) -> Literal["maximize", "minimize"]:
    """Return which way is better for an objective: for what is no cost, a score, it is "maximize"."""
    return DIRECTIONS.get(name, "maximize")


def are_objectives(names: Sequence[str]) -> bool:
    """Return whether these are names of `OBJECTIVES`, at least one and each once."""
    return bool(names) and len(set(names)) == len(names) and all(name in OBJECTIVES for name in names)


def check_workers(objectives: Sequence[str], gpus: float) -> None:
    """Check that workers with this many GPUs each report what is asked for.

    Raises:
        ValueError: They do not.
    """
    for name in objectives:
        if name in COSTS and OBJECTIVES[name].needs_gpu and not gpus:
            raise ValueError(
                f"The objective {name} needs workers with a GPU, but these have none. Leave it out of --objectives, "
                "or give --gpus-per-worker."
            )


def front(values: Mapping[str, Sequence[float]], directions: Sequence[str]) -> set[str]:
    """Return the trials that no other one dominates, which is to be nowhere worse and somewhere better.

    Args:
        values: The values of a trial's objectives, by the trial's name.
        directions: Which way is better, "maximize" or "minimize", for each objective.
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions]
    better = {name: [s * v for s, v in zip(signs, mine, strict=True)] for name, mine in values.items()}

    def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
        return a != b and all(x >= y for x, y in zip(a, b, strict=True))

    found: dict[str, Sequence[float]] = {}
    # In this order nobody comes before who beats them, and who is beaten is so by somebody on the front.
    for name, mine in sorted(better.items(), key=lambda item: item[1], reverse=True):
        if not any(dominates(other, mine) for other in found.values()):
            found[name] = mine
    return set(found)
