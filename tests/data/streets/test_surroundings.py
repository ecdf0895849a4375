"""Things beside the road: every painted pixel is labeled, and with the right classes."""

from __future__ import annotations

import pytest

from pgpc.classes import IGNORE_INDEX
from pgpc.data.streets import surroundings
from pgpc.data.streets.canvas import Panel
from pgpc.data.streets.palette import BUILDING, FENCE, LIGHT, POLE, SIGN, VEGETATION, WALL
from tests.helpers.streets import Draw, check_labels, upright

OBJECTS: dict[str, tuple[Draw, set[int]]] = {
    "tree": (upright(lambda panel, dice: surroundings.tree(panel, dice, dice.chance(0.5))), {VEGETATION}),
    "bush": (upright(lambda panel, dice: surroundings.bush(panel, dice, 1.2)), {VEGETATION}),
    "sign": (upright(surroundings.sign), {POLE, SIGN}),
    "traffic light": (
        upright(lambda panel, dice: surroundings.traffic_light(panel, dice, dice.pick((0.0, 2.5)))),
        {POLE, LIGHT},
    ),
    "lamp post": (upright(lambda panel, dice: surroundings.lamp_post(panel, dice, -1)), {POLE}),
    "clutter": (upright(surroundings.clutter), {IGNORE_INDEX}),
    "wall": (upright(lambda panel, dice: surroundings.wall(panel, dice, 8.0)), {WALL}),
    "fence": (upright(lambda panel, dice: surroundings.fence(panel, dice, 8.3)), {FENCE}),
    "building": (
        lambda canvas, dice: surroundings.building(
            Panel(canvas, 3, 12, 0, 1), Panel(canvas, 3, 12), dice, 14.0, 1 + dice.count(4)
        ),
        {BUILDING},
    ),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_painted_pixels_are_labeled_pixels(name: str) -> None:
    draw, labels = OBJECTS[name]
    assert check_labels(draw) == labels
