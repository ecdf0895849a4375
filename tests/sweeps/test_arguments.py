"""Options as a program gives them: in the types that it has at hand, or as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps import arguments
from sweeps.definition.options import SweepOptions
from sweeps.definition.paper_tables import ABLATIONS


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"trials": 3, "preset": "streets"}, {"trials": 3, "preset": "streets"}),
        ({"storage": Path("results"), "space": Path("a/b.json")}, {"storage": "results", "space": "a/b.json"}),
        (
            {"set": {"contrast.eta": 0.4, "data.crop": 64, "data.rare_class_sampling": False}},
            {"set": ("contrast.eta=0.4", "data.crop=64", "data.rare_class_sampling=false")},
        ),
        ({"range": {"contrast.eta": "0.2:0.8"}}, {"range": ("contrast.eta=0.2:0.8",)}),
        ({"range": "contrast.eta=0.2:0.8"}, {"range": ("contrast.eta=0.2:0.8",)}),
        ({"set": ["a=1", "b=2"], "enqueue": Path("next.json")}, {"set": ("a=1", "b=2"), "enqueue": ("next.json",)}),
        ({"seeds": range(3), "objectives": "mIoU"}, {"seeds": (0, 1, 2), "objectives": ("mIoU",)}),
        ({"seeds": 4, "table": 12}, {"seeds": (4,), "table": (12,)}),
        ({"table": "all"}, {"table": ABLATIONS}),
        ({"time_budget": "1.5h"}, {"time_budget": 5400}),
        ({"time_budget": 90}, {"time_budget": 90}),
        ({"share_trunk": False, "resume": "first", "name": None}, {"share_trunk": False, "resume": "first"}),
    ],
)
def test_values(given: dict[str, Any], read: dict[str, Any]) -> None:
    assert arguments.read(None, given) == read


def test_one_object() -> None:
    assert arguments.read(SweepOptions(trials=3, seeds=(1, 2)), {}) == {"trials": 3, "seeds": (1, 2)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": 5}, "--preset must be a text, but got 5"),
        ({"json": "yes"}, "--json must be True or False, but got 'yes'"),
        ({"seeds": 1.5}, "--seeds must be a list, but got 1.5"),
        ({"seeds": {0: 1}}, "--seeds must not be a mapping, but got {0: 1}"),
        ({"set": [5]}, "--set must be a text, but got 5"),
        ({"log": "mlflow"}, "The options of a sweep are the fields of SweepOptions, but got 'log'. They are: preset, "),
    ],
)
def test_values_that_no_option_has(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        arguments.read(None, given)
    assert message in str(error.value)
