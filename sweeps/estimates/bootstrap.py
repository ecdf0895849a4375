"""Bootstrap intervals: how far an estimate moves when the items that it is of are drawn anew, with replacement."""

from __future__ import annotations

import numpy as np

from sweeps.estimates.spread import Interval

DRAWS = 1000
"""Number of resamples of an interval; its ends then move by about a fiftieth of its width from seed to seed."""


def resamples(num: int, generator: np.random.Generator, *, draws: int = DRAWS) -> np.ndarray:
    """Return how often each of `num` items is in each resample, (draws, num); every row sums to `num`."""
    return generator.multinomial(num, np.full(num, 1 / num), size=draws).astype(float)


def percentile_interval(estimates: np.ndarray) -> Interval | None:
    """Return the 2.5th to the 97.5th percentile of the estimates (draws,) of the resamples.

    Returns:
        None where fewer than half of the resamples have an estimate, because all others are NaN.
    """
    found = estimates[np.isfinite(estimates)]
    if len(found) == 0 or 2 * len(found) < len(estimates):
        return None
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(low), float(high))
