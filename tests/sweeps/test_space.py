"""The search space fits the config that it is built around."""

from __future__ import annotations

import pytest

import pgpc
from sweeps.space import DEFAULT_SPACE, own_values, search_space, trial_config

STREETS = pgpc.preset("streets")


def test_every_corner_of_the_space_is_a_valid_config() -> None:
    space = search_space(STREETS)
    for end in (0, -1):
        corner = {k: (d.low, d.high)[end] if hasattr(d, "low") else d.choices[end] for k, d in space.items()}
        assert trial_config(STREETS, corner).contrast.r == corner["contrast.r"]


def test_few_classes_bound_the_rank() -> None:
    config = pgpc.override(STREETS, {"model.num_classes": 6})
    assert search_space(config)["contrast.r"].high == 5


def test_own_values_are_inside_even_when_unusual() -> None:
    config = pgpc.override(STREETS, {"contrast.anchors": 100, "contrast.eta": 0.95, "contrast.weight": 1.0})
    space = search_space(config)
    for key, value in own_values(config, space).items():
        assert space[key]._contains(space[key].to_internal_repr(value)), key


def test_fixed_key_leaves_the_search() -> None:
    assert set(search_space(STREETS, fixed=["contrast.eta", "training.iterations"])) == set(DEFAULT_SPACE) - {
        "contrast.eta"
    }


def test_nothing_left_to_search_is_refused() -> None:
    with pytest.raises(ValueError, match="At least one parameter"):
        search_space(STREETS, fixed=list(DEFAULT_SPACE))


def test_config_without_contrast_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contrast\.enabled must be true"):
        search_space(pgpc.override(STREETS, {"contrast.enabled": False}))


def test_reference_differs_in_the_contrast_alone() -> None:
    assert trial_config(STREETS, {}) == pgpc.override(STREETS, {"contrast.enabled": False})
