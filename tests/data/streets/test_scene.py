"""The composition of a street before any camera."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pgpc.classes import IGNORE_INDEX
from pgpc.data.streets.palette import BUILDING, BUS, PERSON, ROAD, SIDEWALK, SKY, TRUCK
from pgpc.data.streets.scene import compose
from pgpc.data.streets.styles import CAMERA, GAME, StreetStyle


def composed(style: StreetStyle, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return compose(style, np.random.default_rng(seed), 64, 128)


@pytest.mark.parametrize("style", [GAME, CAMERA], ids=["game", "camera"])
def test_a_street_has_sky_above_and_road_below(style: StreetStyle) -> None:
    for seed in range(5):
        image, labels = composed(style, seed)
        assert image.shape == (64, 128, 3) and labels.shape == (64, 128) and image.dtype == labels.dtype == np.uint8
        assert {ROAD, SIDEWALK, SKY, BUILDING} <= set(np.unique(labels).tolist())
        assert np.nonzero(labels == SKY)[0].mean() < 32 < np.nonzero(labels == ROAD)[0].mean()


def test_a_street_depends_on_the_generator_alone() -> None:
    first, again, other = composed(GAME, 1), composed(GAME, 1), composed(GAME, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[1], other[1])


def test_chances_of_zero_and_one_are_kept() -> None:
    empty = dataclasses.replace(GAME, people=0, rare=(0, 0, 0, 0, 0))
    full = dataclasses.replace(GAME, people=0, rare=(0, 0, 1, 1, 0))
    shows = {"empty": set(), "full": set()}
    for seed in range(8):
        shows["empty"] |= set(np.unique(composed(empty, seed)[1]).tolist())
        shows["full"] |= set(np.unique(composed(full, seed)[1]).tolist())
    assert not {PERSON, TRUCK, BUS} & shows["empty"]
    assert {TRUCK, BUS} <= shows["full"] and PERSON not in shows["full"]


def test_the_bonnet_of_the_camera_car_is_ignored() -> None:
    without, with_hood = (composed(dataclasses.replace(CAMERA, hood=hood), 3)[1] for hood in (0.0, 0.2))
    assert (with_hood[-1] == IGNORE_INDEX).all() and not (without[-1] == IGNORE_INDEX).all()
