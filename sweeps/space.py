"""The search space as data: Optuna distributions keyed by dotted config key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pgpc.config import Config, flatten, override

Space = dict[str, BaseDistribution]

# What the paper's Tables 9 to 12 vary, around the values that it settles on.
DEFAULT_SPACE: Mapping[str, BaseDistribution] = {
    "contrast.r": IntDistribution(2, 8),
    "contrast.eta": FloatDistribution(0.1, 0.9),
    "contrast.weight": FloatDistribution(0.02, 0.5, log=True),
    "contrast.anchors": CategoricalDistribution((64, 128, 256, 512)),
    "contrast.negatives": CategoricalDistribution((64, 128, 256, 512, 1024)),
}

REFERENCE = {"contrast.enabled": False}
"""What turns a config into its reference row: the same training without the contrast."""


def search_space(config: Config, fixed: Collection[str] = ()) -> Space:
    """The distributions to search around `config`.

    They are widened to hold the config's own values, because those are the first trial, and narrowed to what the
    config accepts.

    Args:
        config: the sweep's base config.
        fixed: keys that the user has set; they keep their value and leave the search.

    Raises:
        ValueError: there is nothing to search.
    """
    if not config.contrast.enabled:
        raise ValueError(
            "A sweep searches the contrast's parameters, so contrast.enabled must be true, but got False. The "
            "reference row 'base' is the run without it; for that run alone use `pgpc train`."
        )
    values = flatten(config)
    space = {
        key: _around(distribution, values[key], config.model.num_classes - 1 if key == "contrast.r" else None)
        for key, distribution in DEFAULT_SPACE.items()
        if key not in fixed
    }
    if not space:
        raise ValueError(
            f"At least one parameter must be left to search, but all are --set: {', '.join(DEFAULT_SPACE)}. "
            "Leave one out, or use `pgpc train` for a single run."
        )
    return space


def own_values(config: Config, space: Space) -> dict[str, Any]:
    """The config's own value of every searched key."""
    values = flatten(config)
    return {key: values[key] for key in space}


def trial_config(config: Config, params: Mapping[str, Any]) -> Config:
    """The config of the trial with these parameters; no parameters mean the reference."""
    return override(config, params or REFERENCE)


def _around(distribution: BaseDistribution, value: Any, high: int | None) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution(sorted({*distribution.choices, value}))
    assert isinstance(distribution, (IntDistribution, FloatDistribution)), f"unknown kind: {distribution}"
    upper = distribution.high if high is None else min(distribution.high, high)
    kind = type(distribution)
    return kind(min(distribution.low, value), max(upper, value), log=distribution.log and value > 0)
