"""Scores over seeds: their mean and deviation, and how they compare with those of another trial seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeps.common.words import number

Values = Mapping[int, float]
"""Seed -> score."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of n numbers.

    Attributes:
        mean: Arithmetic mean; NaN of no numbers.
        std: Square root of the sum of squares divided by n - 1; NaN of fewer than two numbers.
        n: How many numbers there are.
    """

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of these numbers."""
        mean = statistics.fmean(values) if values else math.nan
        return cls(mean, statistics.stdev(values) if len(values) > 1 else math.nan, len(values))


def paired(values: Values, base: Values, *, ratio: bool = False) -> dict[int, float]:
    """Compare two trials seed by seed, so that what a seed does to both of them falls out.

    Args:
        values: Scores of one trial.
        base: Scores of the trial that it is compared with.
        ratio: Whether to divide by the base instead of subtracting it.

    Returns:
        Seed -> difference or quotient, for the seeds that both have, in ascending order.
    """
    both = sorted(values.keys() & base.keys())
    return {seed: values[seed] / base[seed] if ratio else values[seed] - base[seed] for seed in both}


def mean_std_text(values: Values, num_seeds: int, *, signed: bool = False) -> str:
    """Return the mean ± the standard deviation as text.

    Args:
        values: Scores by seed.
        num_seeds: Number of seeds that a trial has in the end; where there are fewer, the text says how many.
        signed: Whether the mean has a plus sign where it is positive.
    """
    found = Spread.of(list(values.values()))
    text = number(found.mean, "+.2f" if signed else ".2f")
    if found.n > 1:
        text += f" ± {found.std:.2f}"
    return f"{text} ({found.n} of {num_seeds})" if 0 < found.n < num_seeds else text
