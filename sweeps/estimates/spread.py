"""Scores over seeds: their mean and deviation, and their differences to those of another trial seed by seed."""

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

    @property
    def error(self) -> float:
        """The standard error of the mean; NaN of fewer than two numbers."""
        return self.std / math.sqrt(self.n) if self.n else math.nan


@dataclass(frozen=True)
class Interval:
    """A range of numbers, both ends included.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Return whether a number lies in it."""
        return self.low <= value <= self.high


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


def mean_std_text(values: Values, num_seeds: int, *, digits: int = 2) -> str:
    """Return the mean ± the standard deviation as text.

    Args:
        values: Scores by seed.
        num_seeds: Number of seeds that a trial has in the end; where there are fewer, the text says how many.
        digits: Number of decimals.
    """
    found = Spread.of(list(values.values()))
    text = number(found.mean, f".{digits}f")
    if found.n > 1:
        text += f" ± {found.std:.{digits}f}"
    return f"{text} ({found.n} of {num_seeds})" if 0 < found.n < num_seeds else text


def chance_of_the_best(num: int) -> float:
    """Return by how many standard deviations the best of `num` equal trials lies above their mean, by chance alone.

    It is the expected maximum of `num` standard normal numbers in the approximation of Blom (1958, "Statistical
    estimates and transformed beta-variables"), which is within 0.03 of it.
    """
    return statistics.NormalDist().inv_cdf((num - 0.375) / (num + 0.25))
