"""What a key's field says, and what is derived from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pytest

from pgpc.runtime.fields import Phase, check_fields, documented, fields_of, key, type_in_words


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Oven:
    """An oven.

    It bakes.
    """

    heat: float = key(200.0, doc="Temperature.", above=0, below=math.inf, unit="degrees", phase=Phase.START)
    share: float = key(0.5, doc="Share of steam.", low=0, high=1, phase=Phase.NEVER, remedy="Take a half.")
    trays: int = key(1, doc="Trays.", low=1, high=4, high_rule="must be at most {high}, which fit", phase=Phase.START)
    tray: int | None = key(None, doc="Length of a tray.", low=32, multiple_of=16, phase=Phase.START)
    grid: int = key(8, doc="Bars.", low=8, multiple_of=8, phase=Phase.START)
    doors: tuple[int, int] = key((1, 1), doc="Doors.", low=1, rule="must be two, each >= {low}", phase=Phase.START)
    fuel: Literal["gas", "wood"] = key("gas", doc="Fuel.", phase=Phase.CONTRAST, source="Table 1")
    spices: tuple[Literal["salt", "dill"], ...] = key(("salt",), doc="Spices.", phase=Phase.CONTRAST)

    def __post_init__(self) -> None:
        check_fields(self, "kitchen.oven")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heat": 0.0}, "kitchen.oven.heat must be finite and > 0, but got 0.0."),
        ({"heat": math.inf}, "kitchen.oven.heat must be finite and > 0, but got inf."),
        ({"heat": math.nan}, "kitchen.oven.heat must be finite and > 0, but got nan."),
        ({"share": 1.5}, "kitchen.oven.share must lie in [0, 1], but got 1.5. Take a half."),
        ({"share": -0.1}, "kitchen.oven.share must lie in [0, 1], but got -0.1. Take a half."),
        ({"trays": 0}, "kitchen.oven.trays must be >= 1, but got 0."),
        ({"trays": 5}, "kitchen.oven.trays must be at most 4, which fit, but got 5."),
        ({"tray": 40}, "kitchen.oven.tray must be a multiple of 16, and at least 32, or None, but got 40."),
        ({"tray": 16}, "kitchen.oven.tray must be a multiple of 16, and at least 32, or None, but got 16."),
        ({"grid": 0}, "kitchen.oven.grid must be a positive multiple of 8, but got 0."),
        ({"doors": (1, 0)}, "kitchen.oven.doors must be two, each >= 1, but got (1, 0)."),
        ({"doors": (1, 1, 1)}, "kitchen.oven.doors must be two, each >= 1, but got (1, 1, 1)."),
        ({"fuel": "coal"}, "kitchen.oven.fuel must be one of 'gas', 'wood', but got 'coal'."),
        ({"spices": ("salt", "mint")}, "kitchen.oven.spices must be one of 'salt', 'dill', but got ('salt', 'mint')."),
    ],
)
def test_a_value_out_of_range_is_refused_with_key_rule_value_and_remedy(values, message):
    with pytest.raises(ValueError) as error:
        Oven(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "values",
    [
        {"heat": 1e-9},
        {"share": 0.0},
        {"share": 1.0},
        {"trays": 4},
        {"tray": 48},
        {"tray": None},
        {"spices": ()},
        {"spices": ("dill", "salt")},
    ],
)
def test_the_ends_of_a_range_belong_to_it_unless_they_are_open(values):
    assert all(getattr(Oven(**values), name) == value for name, value in values.items())


def test_a_field_knows_its_key_type_and_default():
    infos = fields_of(Oven, "kitchen.oven")
    assert list(infos) == ["heat", "share", "trays", "tray", "grid", "doors", "fuel", "spices"]
    heat, fuel = infos["heat"], infos["fuel"]
    assert (heat.key, heat.kind, heat.default, heat.unit) == ("kitchen.oven.heat", float, 200.0, "degrees")
    assert (fuel.choices, fuel.phase, fuel.source) == (("gas", "wood"), Phase.CONTRAST, "Table 1")
    assert (infos["tray"].optional, heat.optional) == (True, False)
    assert fields_of(Oven)["heat"].key == "heat"


def test_ranges_in_words():
    ranges = {name: info.range for name, info in fields_of(Oven).items()}
    assert ranges == {
        "heat": "> 0, finite",
        "share": "[0, 1]",
        "trays": "[1, 4]",
        "tray": "multiples of 16, >= 32",
        "grid": "multiples of 8, >= 8",
        "doors": ">= 1",
        "fuel": "'gas', 'wood'",
        "spices": "'salt', 'dill'",
    }


def test_the_documentation_lists_the_fields():
    lines = Oven.__doc__.splitlines()
    assert lines[:6] == [
        "An oven.",
        "",
        "It bakes.",
        "",
        "Attributes:",
        "    heat: Temperature. (> 0, finite; degrees)",
    ]
    assert "    fuel: Fuel. ('gas', 'wood'; Table 1)" in lines


def test_types_in_words():
    words = {name: type_in_words(info.kind) for name, info in fields_of(Oven).items()}
    assert words["heat"] == "number" and words["trays"] == "whole number" and words["tray"] == "whole number or none"
    assert words["doors"] == "2 whole numbers" and words["fuel"] == "choice" and words["spices"] == "list of choices"
    assert (type_in_words(bool), type_in_words(str)) == ("true or false", "text")
