"""Parameters of children, by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import pgpc
from sweeps.common.private_optuna import contains
from sweeps.definition.space import own_values, search_space
from sweeps.search.perturbation import perturbed

CONFIG = pgpc.preset("streets")
SPACE = search_space(CONFIG)


class Draws:
    """Stands in for a generator: the same number again and again, where whether to draw anew is asked first."""

    def __init__(self, anew: float, up: float, where: float) -> None:
        self._numbers = itertools.cycle((anew, up, where))

    def random(self) -> float:
        return next(self._numbers)


@pytest.mark.parametrize(
    ("distribution", "value", "down", "up"),
    [
        (FloatDistribution(0.1, 0.9), 0.5, 0.4, 0.625),
        (FloatDistribution(0.1, 0.9), 0.1, 0.1, 0.125),
        (FloatDistribution(0.1, 0.9), 0.8, 0.64, 0.9),
        (FloatDistribution(0.2, 0.8, step=0.2), 0.6, 0.4, 0.8),
        (IntDistribution(2, 8), 2, 2, 3),
        (IntDistribution(2, 8), 4, 3, 5),
        (IntDistribution(2, 80), 40, 32, 50),
        (IntDistribution(2, 11, step=3), 5, 2, 8),
        (CategoricalDistribution((64, 128, 256)), 128, 64, 256),
        (CategoricalDistribution((64, 128, 256)), 64, 128, 128),
        (CategoricalDistribution((64, 128, 256)), 256, 128, 128),
        (CategoricalDistribution(("valid",)), "valid", "valid", "valid"),
    ],
)
def test_perturbed(distribution: Any, value: Any, down: Any, up: Any) -> None:
    for draw, expected in ((0.9, down), (0.1, up)):
        found = perturbed({"key": value}, {"key": distribution}, Draws(0.25, draw, 0.5))["key"]
        assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected
        assert contains(distribution, found)


def test_a_parameter_can_be_drawn_anew() -> None:
    space = {
        "line": FloatDistribution(0, 10),
        "log": FloatDistribution(0.01, 1, log=True),
        "whole": IntDistribution(0, 10),
        "choice": CategoricalDistribution(("a", "b", "c", "d")),
    }
    params = {"line": 1.0, "log": 1.0, "whole": 1, "choice": "a"}
    found = perturbed(params, space, Draws(0.24, 0, 0.5))
    assert found == {"line": 5.0, "log": pytest.approx(0.1), "whole": 5, "choice": "c"}


def test_perturbation_stays_in_the_space_and_follows_from_the_generator() -> None:
    params = own_values(CONFIG, SPACE)
    for number in range(50):
        found = [perturbed(params, SPACE, np.random.default_rng([0, number])) for _ in range(2)]
        assert found[0] == found[1] and all(contains(SPACE[key], value) for key, value in found[0].items())
        params = found[0]
