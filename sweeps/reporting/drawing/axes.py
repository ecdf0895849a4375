"""Where values lie along the axes of a chart, and which of them are written there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Where values lie along a line, and which of them are written beside it.

    Attributes:
        place: Function that gives a value's place, from 0 to 1.
        ticks: (place, text) of each value that is written.
    """

    place: Callable[[Any], float]
    ticks: list[tuple[float, str]]


def linear_axis(low: float, high: float, num: int = 4) -> Axis:
    """Return an axis from `low` to `high` with ticks at about `num` round numbers."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = _round_step((high - low) / num)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    place = _linear(low, high)
    return Axis(place=place, ticks=[(place(k * step), f"{k * step:.{digits}f}") for k in range(first, last + 1)])


def param_axis(values: Sequence[Any], distribution: BaseDistribution | None) -> Axis:
    """Return the axis of a parameter, as it is searched, or, where it is not, as its values are.

    Args:
        values: Values of the parameter, all of which lie on the axis.
        distribution: What is searched; None where the parameter is not. Choices are spaced evenly, and numbers
            logarithmically where they are drawn so.
    """
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if isinstance(distribution, CategoricalDistribution) or not numeric:
        choices = list(getattr(distribution, "choices", ())) or sorted(set(values), key=str)
        choices = [*choices, *(v for v in dict.fromkeys(values) if v not in choices)]
        at = {v: (i + 0.5) / len(choices) for i, v in enumerate(choices)}
        return Axis(place=at.__getitem__, ticks=[(at[v], str(v)) for v in choices])
    bounds: list[float] = []
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        bounds = [distribution.low, distribution.high]
    low, high = min([*values, *bounds]), max([*values, *bounds])
    if getattr(distribution, "log", False) and low > 0 and high > low:
        return _log_axis(low, high)
    if all(isinstance(v, int) for v in values) and high - low <= 8:
        place = _linear(low - 0.3, high + 0.3)
        return Axis(place=place, ticks=[(place(k), str(k)) for k in range(int(low), int(high) + 1)])
    return linear_axis(low, high)


def padded_axis(values: Sequence[float], num: int) -> Axis:
    """Return an axis that spans the values, with room beyond them, and has about `num` ticks."""
    pad = 0.08 * (max(values) - min(values)) or 0.5
    return linear_axis(min(values) - pad, max(values) + pad, num)


def _linear(low: float, high: float) -> Callable[[float], float]:
    return lambda value: (value - low) / (high - low)


def _log_axis(low: float, high: float) -> Axis:
    scale = _linear(math.log(low), math.log(high))
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**d for d in decades for m in (1, 2, 5) if low * 0.999 <= m * 10.0**d <= high * 1.001]
    return Axis(place=lambda value: scale(math.log(value)), ticks=[(scale(math.log(t)), f"{t:g}") for t in ticks])


def _round_step(step: float) -> float:
    """Return the next number that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if step <= m * power * (1 + 1e-9))
