"""The configuration of the optimizer, by itself."""

import math

import pytest

from pgpc.optimization.config import OptimizerConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.0}, "optimizer.lr must be finite and > 0, but got 0.0."),
        ({"head_factor": math.inf}, "optimizer.head_factor must be finite and > 0, but got inf."),
        ({"betas": (0.9, 1.0)}, "optimizer.betas must be two numbers in [0, 1), but got (0.9, 1.0)."),
        ({"betas": (0.9,)}, "optimizer.betas must be two numbers in [0, 1), but got (0.9,)."),
        ({"momentum": 1.0}, "optimizer.momentum must lie in [0, 1), but got 1.0."),
        ({"warmup": -1}, "optimizer.warmup must be >= 0, but got -1."),
        ({"warmup_ratio": 0.0}, "optimizer.warmup_ratio must lie in (0, 1], but got 0.0."),
        ({"power": -1.0}, "optimizer.power must be finite and >= 0, but got -1.0."),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        OptimizerConfig(**values)
    assert str(error.value) == message
