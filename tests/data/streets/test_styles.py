"""The statistics of the two domains' streets."""

from __future__ import annotations

import dataclasses

import pytest

from pgpc.data.streets.styles import CAMERA, GAME, StreetStyle


@pytest.mark.parametrize("style", [GAME, CAMERA], ids=["game", "camera"])
def test_ranges_rise_and_chances_are_such(style: StreetStyle) -> None:
    for name in ("focal", "camera_height", "horizon", "road_left", "road_right", "sidewalk", "storeys", "sun"):
        low, high = getattr(style, name)
        assert 0 <= low < high, name
    for name in ("verge", "parked", "bicycles", "trees", "palms", "furniture", "hood"):
        assert 0 <= getattr(style, name) < 1, name
    assert all(0 < chance < 1 for chance in style.rare)


def test_the_domains_differ_in_layout() -> None:
    game, camera = dataclasses.asdict(GAME), dataclasses.asdict(CAMERA)
    assert all(game[name] != camera[name] for name in game)
