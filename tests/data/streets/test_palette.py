"""Train ids of the drawings, and the dice."""

from __future__ import annotations

import numpy as np

from pgpc.classes import CLASS_NAMES
from pgpc.data.streets import palette
from pgpc.data.streets.palette import Dice


def test_train_ids_are_those_of_the_classes() -> None:
    names = {"light": "traffic light", "sign": "traffic sign"}
    ids = [name for name, value in vars(palette).items() if name.isupper() and isinstance(value, int)]
    assert len(ids) == 19
    for name in ids:
        assert CLASS_NAMES[getattr(palette, name)] == names.get(name.lower(), name.lower())


def test_dice_stay_in_their_ranges_and_reach_all_of_them() -> None:
    dice = Dice(np.random.default_rng(0))
    assert {dice.count(3) for _ in range(200)} == {0, 1, 2, 3}
    assert {dice.pick("abc") for _ in range(200)} == set("abc")
    between = [dice.between(2.0, 3.0) for _ in range(200)]
    assert 2.0 <= min(between) < 2.1 and 2.9 < max(between) < 3.0
    assert 100 < sum(dice.chance(0.75) for _ in range(200)) < 190


def test_colors_vary_around_those_named_and_stay_colors() -> None:
    dice = Dice(np.random.default_rng(0))
    colors = np.array([dice.color([(0, 128, 255)], spread=10) for _ in range(300)])
    assert colors.min() >= 0 and colors.max() <= 255
    assert np.abs(colors[:, 1] - 128).max() <= 15 and len(np.unique(colors[:, 1])) > 10


def test_dice_draw_from_the_generator_alone() -> None:
    first, again = (Dice(np.random.default_rng(5)) for _ in range(2))
    assert [first.between(0, 1), first.count(9), first.color(palette.PAINT)] == [
        again.between(0, 1),
        again.count(9),
        again.color(palette.PAINT),
    ]
