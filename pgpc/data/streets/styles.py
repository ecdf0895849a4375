"""The layout statistics of the two domains' streets: a game engine's and those that a real camera sees."""

from __future__ import annotations

from dataclasses import dataclass

from pgpc.data.streets.canvas import Range
from pgpc.data.streets.palette import Color


@dataclass(frozen=True, kw_only=True, slots=True)
class StreetStyle:
    """Layout statistics of one domain's streets; ranges are uniform, chances are per image or per slot.

    Attributes:
        focal: Focal length over image width.
        camera_height: Height of the camera above the road in meters.
        horizon: Distance of the horizon from the top, over image height.
        road_left: Width of the road left of the camera in meters.
        road_right: Width of the road right of the camera in meters.
        sidewalk: Width of a sidewalk in meters.
        verge: Chance of a grass strip between kerb and sidewalk, per side.
        lots: Weights of building, park, wall and fence along the street.
        storeys: Number of floors of a building.
        parked: Chance that a parking slot is taken.
        cars: Largest number of moving cars.
        people: Largest number of groups of people.
        bicycles: Chance of parked bicycles, per side.
        trees: Chance that a tree slot is taken.
        palms: Share of palms among the trees.
        furniture: Chance of a lamp, a sign or clutter, per slot.
        rare: Chances per image of (rider, motorcycle, truck, bus, train).
        sun: Darkness of shadows, from 0 (overcast) to 1 (black).
        sky: Colors at the zenith; the horizon is paler.
        haze: Distance in meters at which half of the contrast is lost.
        hood: Height of the car's own bonnet at the bottom edge (ignored label), over image height.
    """

    focal: Range
    camera_height: Range
    horizon: Range
    road_left: Range
    road_right: Range
    sidewalk: Range
    verge: float
    lots: tuple[float, float, float, float]
    storeys: tuple[int, int]
    parked: float
    cars: int
    people: int
    bicycles: float
    trees: float
    palms: float
    furniture: float
    rare: tuple[float, float, float, float, float]
    sun: Range
    sky: tuple[Color, ...]
    haze: float
    hood: float


GAME = StreetStyle(
    focal=(0.78, 0.95),
    camera_height=(1.5, 2.1),
    horizon=(0.40, 0.50),
    road_left=(6.0, 10.0),
    road_right=(4.2, 6.5),
    sidewalk=(3.0, 5.5),
    verge=0.45,
    lots=(0.68, 0.32, 0.16, 0.30),
    storeys=(1, 6),
    parked=0.28,
    cars=4,
    people=3,
    bicycles=0.13,
    trees=0.40,
    palms=0.4,
    furniture=0.42,
    rare=(0.13, 0.14, 0.20, 0.14, 0.11),
    sun=(0.45, 0.9),
    sky=((74, 138, 214), (96, 160, 224), (60, 120, 200), (110, 164, 214), (214, 168, 132)),
    haze=420,
    hood=0.0,
)

CAMERA = StreetStyle(
    focal=(0.98, 1.15),
    camera_height=(1.2, 1.4),
    horizon=(0.42, 0.54),
    road_left=(4.4, 6.2),
    road_right=(3.4, 4.4),
    sidewalk=(2.6, 5.0),
    verge=0.2,
    lots=(0.84, 0.16, 0.12, 0.22),
    storeys=(3, 6),
    parked=0.42,
    cars=3,
    people=5,
    bicycles=0.30,
    trees=0.34,
    palms=0.0,
    furniture=0.5,
    rare=(0.15, 0.12, 0.16, 0.15, 0.13),
    sun=(0.0, 0.3),
    sky=((196, 204, 208), (214, 218, 218), (176, 186, 194), (232, 234, 234), (168, 192, 216)),
    haze=150,
    hood=0.06,
)
