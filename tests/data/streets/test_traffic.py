"""People and vehicles: every painted pixel is labeled, and with the right classes."""

from __future__ import annotations

import pytest

from pgpc.data.streets import traffic
from pgpc.data.streets.palette import BICYCLE, BUS, CAR, MOTORCYCLE, PERSON, RIDER, TRAIN, TRUCK
from tests.helpers.streets import Draw, boxed, check_labels, upright

OBJECTS: dict[str, tuple[Draw, int]] = {
    "person": (upright(traffic.person), PERSON),
    "rider": (upright(lambda panel, dice: traffic.rider(panel, dice, 0.9)), RIDER),
    "bicycle": (upright(traffic.bicycle), BICYCLE),
    "motorcycle": (upright(traffic.motorcycle), MOTORCYCLE),
    "bus": (boxed(traffic.bus, length=11.0, width=2.5), BUS),
    "truck": (boxed(traffic.truck, length=8.0, width=2.4), TRUCK),
    "train": (boxed(traffic.train, length=18.0, width=2.5), TRAIN),
    **{f"car {k}": (boxed(traffic.car, shape=shape), CAR) for k, shape in enumerate(traffic.CAR_BODIES)},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_painted_pixels_are_labeled_pixels(name: str) -> None:
    draw, label = OBJECTS[name]
    assert check_labels(draw) == {label}
