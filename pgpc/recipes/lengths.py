"""Lengths that follow the length of the training: when the contrast starts, how long warm-up is, when is evaluated."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from pgpc.config import Config, field_of, flatten
from pgpc.runtime.coercion import as_setting
from pgpc.runtime.fields import Phase

ITERATIONS = "training.iterations"


def scaled_lengths(config: Config, iterations: int, given: Collection[str] = ()) -> dict[str, int]:
    """Return the lengths of a config that change in proportion when its number of iterations does.

    These are all keys whose unit is iterations. Intervals are rounded up, so that there are not more evaluations than
    before; 0 remains 0.

    Args:
        config: The config, of another number of iterations.
        iterations: The new number.
        given: Keys that the user has set, which stay as they are.

    Returns:
        The new lengths by dotted key, without those that stay as they were.
    """
    before = config.training.iterations
    values = flatten(config)
    found = {}
    for key, value in values.items():
        info = field_of(key)
        of_other_base = key.startswith("proca.") and config.base != "proca"
        if info.unit != "iterations" or key == ITERATIONS or key in given or of_other_base or not value:
            continue
        exact = value * iterations / before
        length = math.ceil(exact) if info.phase is Phase.NEVER else min(round(exact), iterations - 1)
        length = max(length, int(info.low or 0))
        if length != value:
            found[key] = length
    return found


def lengths_of(config: Config) -> dict[str, str]:
    """Return all lengths of a config but the number of iterations, as settings by dotted key."""
    lengths = {key: value for key, value in flatten(config).items() if field_of(key).unit == "iterations"}
    return {key: as_setting(value) for key, value in lengths.items() if key != ITERATIONS}


def in_words(config: Config, lengths: Mapping[str, int], iterations: int) -> str:
    """Return a sentence that says which lengths were changed with the number of iterations.

    Args:
        config: The config before.
        lengths: The new lengths by dotted key.
        iterations: The new number of iterations.
    """
    values = flatten(config)
    listed = ", ".join(f"{key}={length} (was {values[key]})" for key, length in lengths.items())
    return (
        f"{ITERATIONS}={iterations} instead of {config.training.iterations}, and in proportion {listed}. "
        "What is set beside it stays as it is set."
    )
