"""How trials differ from their base, seed by seed: t intervals, p values, and Holm's procedure where several do.

A difference of one seed has neither: nothing tells it from the noise between seeds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sweeps.common.words import number
from sweeps.estimates.spread import Interval, Spread, Values

LEVEL = 0.95
"""Confidence of every interval, and one minus the share of false claims that a family of comparisons may make."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of paired differences, or quotients, and how sure it is.

    Attributes:
        spread: Mean, sample standard deviation and number n of the pairs.
        interval: Two-sided 95 % t interval of the mean, by itself; None of fewer than two pairs.
        p: Two-sided p value of the t test, by itself; None of fewer than two pairs.
        adjusted: Interval of the mean as one of a family, see :func:`compare_all`; None of fewer than two pairs.
        p_adjusted: Holm's p value of the same; None of fewer than two pairs.
        family: Number of comparisons in the family, itself included.
        null: The mean of no effect: 0 of differences, 1 of quotients.
    """

    spread: Spread
    interval: Interval | None
    p: float | None
    adjusted: Interval | None
    p_adjusted: float | None
    family: int
    null: float

    @property
    def is_effect(self) -> bool:
        """Whether the adjusted interval leaves out the mean of no effect; never with fewer than two pairs."""
        return self.adjusted is not None and not self.adjusted.holds(self.null)

    def __str__(self) -> str:
        """Return mean ± standard deviation, interval and number of pairs: ``"+2.00 ± 1.41 [-1.51, +5.51] (n=3)"``."""
        spec = ".2f" if self.null else "+.2f"
        text = number(self.spread.mean, spec)
        if self.adjusted is not None:
            low, high = number(self.adjusted.low, spec), number(self.adjusted.high, spec)
            text += f" ± {self.spread.std:.2f} [{low}, {high}]"
        return f"{text} (n={self.spread.n})" if self.spread.n else text


def compare_all(pairs: Mapping[Key, Values], *, null: float = 0.0) -> dict[Key, Difference]:
    """Return how sure each of a family of comparisons is.

    A claim for every comparison whose adjusted interval leaves out `null` is false for any of them in at most 5 % of
    families that have no effect: the interval does so exactly where the test of Holm (1979, "A simple sequentially
    rejective multiple test procedure") rejects. It has the level that this test has at its place: of m comparisons in
    the order of their p values the k-th has 1 - 0.05 / (m - k + 1), and from the first one on that is not rejected all
    have that one's level. A comparison of fewer than two pairs counts as one that is not rejected.

    Args:
        pairs: Differences, or quotients, by seed, for each of the comparisons.
        null: The mean of no effect.
    """
    values = {key: list(found.values()) for key, found in pairs.items()}
    tested = {key: _p_value(found, null) for key, found in values.items()}
    p_values = {key: 1.0 if p is None else p for key, p in tested.items()}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    num, alpha = len(pairs), 1 - LEVEL
    num_rejected = sum(p <= alpha for p in adjusted.values())
    places = {key: place for place, key in enumerate(sorted(p_values, key=p_values.__getitem__))}
    return {
        key: Difference(
            spread=Spread.of(found),
            interval=t_interval(found, LEVEL),
            p=tested[key],
            adjusted=t_interval(found, 1 - alpha / (num - min(places[key], num_rejected))),
            p_adjusted=None if tested[key] is None else adjusted[key],
            family=num,
            null=null,
        )
        for key, found in values.items()
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of several tests, adjusted by Holm's step-down procedure, in the order that they came in."""
    found, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        found[i] = highest
    return found


def t_interval(values: Sequence[float], level: float) -> Interval | None:
    """Return the two-sided interval of Student's t for the mean; None of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # takes longer to load than a report of one seed takes to write

    spread = Spread.of(values)
    reach = float(stdtrit(spread.n - 1, (1 + level) / 2)) * spread.error
    return Interval(spread.mean - reach, spread.mean + reach)


def _p_value(values: Sequence[float], null: float) -> float | None:
    """Return the two-sided p value of the t test of the mean against `null`; None of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtr

    spread = Spread.of(values)
    distance = abs(spread.mean - null)
    if distance == 0:
        return 1.0
    return float(2 * stdtr(spread.n - 1, -(distance / spread.error if spread.error else math.inf)))
