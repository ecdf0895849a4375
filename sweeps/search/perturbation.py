"""How a child of population based training differs from its parent (Jaderberg et al. 2017, section 3, "explore")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeps.definition.space import Space

FACTORS = (0.8, 1.25)
RESAMPLED = 0.25
"""Probability with which a parameter is drawn anew instead of changed by one of the factors."""


def perturbed(params: Mapping[str, Any], space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Return a child's parameters.

    Each is changed by one of `FACTORS`, whole numbers by one at least, and kept within its range; one of several
    choices gives way to a neighbor. With probability `RESAMPLED` it is drawn from its range instead.

    Args:
        params: The parent's parameters.
        space: The ranges.
        rng: The source of all randomness.
    """
    changed: dict[str, Any] = {}
    for key, distribution in space.items():
        anew, up, where = rng.random() < RESAMPLED, rng.random() < 0.5, rng.random()
        changed[key] = _drawn(distribution, where) if anew else _moved(distribution, params[key], up)
    return changed


def _moved(distribution: BaseDistribution, value: Any, up: bool) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        choices, place = distribution.choices, distribution.choices.index(value)
        neighbors = choices[max(place - 1, 0) : place] + choices[place + 1 : place + 2]
        return neighbors[-1 if up else 0] if neighbors else value
    moved = value * FACTORS[up]
    if isinstance(distribution, IntDistribution):
        step = distribution.step
        moved = max(math.ceil(moved), value + step) if up else min(math.floor(moved), value - step)
    return _within(distribution, moved)


def _drawn(distribution: BaseDistribution, where: float) -> Any:
    """Return the value at a share `where`, in [0, 1), of the range."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(where * len(distribution.choices))]
    assert isinstance(distribution, (IntDistribution, FloatDistribution)), f"unknown kind: {distribution}"
    low, high = distribution.low, distribution.high
    if distribution.log:
        return _within(distribution, low * (high / low) ** where)
    return _within(distribution, low + where * (high - low))


def _within(distribution: BaseDistribution, value: float) -> Any:
    """Return the nearest value that the distribution has."""
    assert isinstance(distribution, (IntDistribution, FloatDistribution)), f"unknown kind: {distribution}"
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None:
        value = low + step * round((value - low) / step)
        high = low + step * math.floor((high - low) / step + 1e-8)
    return type(low)(min(max(value, low), high))
