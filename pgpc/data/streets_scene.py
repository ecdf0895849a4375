"""Procedural street scenes: what stands where, and how every object is drawn.

A scene is a pinhole camera above a straight street. World coordinates are metres: x to the right of the camera, y up
from the ground, z forward. Everything upright is drawn on a `Panel`, a vertical plane of the world, far to near
(painter's algorithm), and image and label receive the same integer polygons, so that labels are exact.
As in Cityscapes, the holes of fences and the spokes of wheels belong to the object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from pgpc.classes import CLASS_NAMES, IGNORE_INDEX

Range = tuple[float, float]
Colour = tuple[int, ...]
T = TypeVar("T")

(ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR, TRUCK, BUS,
 TRAIN, MOTORCYCLE, BICYCLE) = range(len(CLASS_NAMES))

NEAREST = 2.0  # metres; nothing closer is projected, which keeps coordinates finite
_CIRCLE = tuple((math.cos(k * math.pi / 7), math.sin(k * math.pi / 7)) for k in range(14))

MASONRY: tuple[Colour, ...] = ((150, 82, 62), (176, 104, 76), (206, 186, 150), (222, 210, 186), (168, 160, 148),
                               (132, 128, 124), (214, 178, 112), (196, 150, 132), (232, 230, 222), (120, 96, 84))
CLADDING: tuple[Colour, ...] = ((96, 128, 148), (70, 92, 110), (130, 156, 164), (86, 84, 92))
PAINT: tuple[Colour, ...] = ((232, 232, 230), (24, 24, 28), (150, 154, 158), (92, 96, 102), (164, 28, 30), (30, 62, 130),
                             (40, 88, 62), (206, 170, 40), (190, 178, 152), (96, 24, 40), (70, 130, 180))
LIVERY: tuple[Colour, ...] = ((226, 224, 218), (196, 44, 36), (224, 178, 40), (44, 92, 158), (60, 130, 80), (160, 160, 164))
CLOTH: tuple[Colour, ...] = ((36, 40, 56), (70, 72, 78), (180, 40, 44), (52, 86, 150), (214, 208, 196), (60, 104, 64),
                             (222, 186, 60), (120, 70, 120), (130, 96, 66), (26, 26, 28), (226, 120, 60))
SKIN: tuple[Colour, ...] = ((236, 196, 166), (206, 156, 122), (150, 104, 76), (98, 66, 50))
FOLIAGE: tuple[Colour, ...] = ((58, 104, 38), (78, 122, 46), (44, 84, 44), (104, 130, 52), (70, 96, 60))
GLASS: Colour = (44, 54, 64)
RUBBER: Colour = (26, 26, 28)
STEEL: Colour = (104, 106, 108)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreetStyle:
    """Layout statistics of one domain's streets; ranges are uniform, chances are per image or per slot.

    Attributes:
        focal: focal length over image width.
        camera_height: metres above the road.
        horizon: height of the horizon from the top, over image height.
        road_left: metres of road left of the camera.
        road_right: metres of road right of the camera.
        sidewalk: width in metres.
        verge: chance of a grass strip between kerb and sidewalk, per side.
        lots: weights of building, park, wall and fence along the street.
        storeys: number of floors of a building.
        parked: chance that a parking slot is taken.
        cars: most moving cars.
        people: most groups of people.
        bicycles: chance of parked bicycles, per side.
        trees: chance that a tree slot is taken.
        palms: share of palms among the trees.
        furniture: chance of a lamp, a sign or clutter, per slot.
        rare: chance per image of (rider, motorcycle, truck, bus, train).
        sun: darkness of shadows, 0 overcast to 1 black.
        sky: colours at the zenith; the horizon is paler.
        haze: distance in metres at which half of the contrast is lost.
        hood: height of the car's own bonnet at the bottom edge (ignored label), over image height.
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
    sky: tuple[Colour, ...]
    haze: float
    hood: float


class Dice:
    """Random choices built from `Generator.random` alone: the same on every machine (no fused multiply-add)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._random = rng.random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def count(self, most: int) -> int:
        """Uniform on 0..most."""
        return int(self._random() * (most + 1))

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def colour(self, options: Sequence[Colour], spread: float = 14) -> Colour:
        """One of the colours, moved a little in each channel and all together."""
        shift = self.between(-spread, spread)
        return tuple(int(min(max(c + shift + self.between(-spread, spread) / 2, 0), 255)) for c in self.pick(options))


class Camera(NamedTuple):
    """Pinhole: focal length and principal point in pixels (the point is where the street vanishes), height in metres."""

    focal: float
    x: float
    y: float
    height: float

    def project(self, x: float, y: float, z: float) -> tuple[int, int]:
        scale = self.focal / z
        return round(self.x + x * scale), round(self.y + (self.height - y) * scale)


class Canvas:
    """An image and its label map, painted together.

    A label of None paints the image only: details, shadows and reflections do not change what a thing is.
    """

    def __init__(self, camera: Camera, height: int, width: int, haze: tuple[Colour, float]) -> None:
        self.camera = camera
        self.image = Image.new("RGB", (width, height))
        self.labels = Image.new("L", (width, height), IGNORE_INDEX)
        self._paint = ImageDraw.Draw(self.image, "RGBA")
        self._mark = ImageDraw.Draw(self.labels)
        self._haze, self._haze_distance = haze

    def lit(self, colour: Colour, light: float, z: float) -> Colour:
        """The colour (RGB or RGBA) under this light, seen through z metres of air."""
        air = z / (z + self._haze_distance)
        clear, (red, green, blue) = light * (1 - air), self._haze
        return (int(min(colour[0] * clear + red * air, 255)), int(min(colour[1] * clear + green * air, 255)),
                int(min(colour[2] * clear + blue * air, 255)), *colour[3:])

    def shows(self, points: list[tuple[int, int]]) -> bool:
        """Whether a polygon may touch the picture; much of a street is beside it."""
        columns = [x for x, _ in points]
        return max(columns) >= 0 and min(columns) < self.image.width

    def polygon(self, points: list[tuple[int, int]], colour: Colour, label: int | None = None) -> None:
        self._paint.polygon(points, fill=colour)
        if label is not None:
            self._mark.polygon(points, fill=label)

    def outline(self, points: list[tuple[int, int]], colour: Colour, label: int, width: int) -> None:
        self._paint.line([*points, points[0]], fill=colour, width=width)
        self._mark.line([*points, points[0]], fill=label, width=width)

    def ground(self, x0: float, x1: float, z0: float, z1: float, colour: Colour, label: int | None = None) -> None:
        project = self.camera.project
        points = [project(x0, 0, z0), project(x0, 0, z1), project(x1, 0, z1), project(x1, 0, z0)]
        self.polygon(points, self.lit(colour, 1, (z0 + min(z1, 60)) / 3), label)


class Panel(NamedTuple):
    """A vertical plane: (u, v) lies u metres along (dx, dz) from the foot point (x, z), and v metres above ground."""

    canvas: Canvas
    x: float
    z: float
    dx: float = 1.0
    dz: float = 0.0
    light: float = 1.0

    def points(self, corners: Sequence[Range]) -> list[tuple[int, int]]:
        (focal, centre, horizon, height), x, z, dx, dz = self.canvas.camera, self.x, self.z, self.dx, self.dz
        points = []
        for u, v in corners:  # `Camera.project`, written out: most of the time of a scene is spent here
            scale = focal / (z + u * dz)
            points.append((round(centre + (x + u * dx) * scale), round(horizon + (height - v) * scale)))
        return points

    def scale(self) -> float:
        """Pixels per metre at the foot point."""
        return self.canvas.camera.focal / max(self.z, NEAREST)

    def polygon(self, corners: Sequence[Range], colour: Colour, label: int | None = None) -> None:
        points = self.points(corners)
        if self.canvas.shows(points):
            self.canvas.polygon(points, self.canvas.lit(colour, self.light, self.z), label)

    def rect(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, label: int | None = None) -> None:
        self.polygon(((u0, v0), (u0, v1), (u1, v1), (u1, v0)), colour, label)

    def disc(self, u: float, v: float, r: float, colour: Colour, label: int | None = None, tall: float = 1) -> None:
        self.polygon([(u + r * c, v + r * s * tall) for c, s in _CIRCLE], colour, label)

    def ring(self, u: float, v: float, r: float, colour: Colour, label: int) -> None:
        """A spoked wheel: see-through in the image, whole in the label."""
        points = self.points([(u + r * c, v + r * s) for c, s in _CIRCLE])
        self.canvas.polygon(points, (*colour, 70), label)
        tyre = self.canvas.lit(colour, self.light, self.z)
        self.canvas.outline(points, tyre, label, max(1, round(0.07 * self.scale())))

    def stroke(self, u0: float, v0: float, u1: float, v1: float, width: float, colour: Colour,
               label: int | None = None) -> None:
        """A straight bar, at least one pixel thick."""
        du, dv = u1 - u0, v1 - v0
        half = width / 2 / max(math.sqrt(du * du + dv * dv), 1e-6)
        nu, nv = -dv * half, du * half
        self.polygon(((u0 + nu, v0 + nv), (u1 + nu, v1 + nv), (u1 - nu, v1 - nv), (u0 - nu, v0 - nv)), colour, label)

    def moved(self, other: Panel, distance: float) -> Panel:
        """This panel shifted along the direction of another one."""
        return self._replace(x=self.x + other.dx * distance, z=self.z + other.dz * distance)


# Objects. Each draws itself on the panels it is given, standing on the ground.


def person(panel: Panel, dice: Dice) -> None:
    k = dice.between(0.6, 0.75) if dice.chance(0.12) else dice.between(0.92, 1.08)
    top, legs, skin, hair = dice.colour(CLOTH), dice.colour(CLOTH), dice.colour(SKIN, 8), dice.colour(CLOTH[-4:-1])
    stride, swing = dice.between(0.06, 0.28) * k, dice.between(-0.2, 0.25) * k
    hem = dice.pick((0.86, 0.8, 0.8, 0.5)) * k
    for sign in (-1, 1):
        panel.stroke(0.07 * sign, 0.9 * k, stride * sign, 0.06, 0.17 * k, legs, PERSON)
        panel.stroke(stride * sign, 0.05, stride * sign + 0.12, 0.05, 0.1, RUBBER, PERSON)
        panel.stroke(0.22 * sign * k, 1.38 * k, (0.26 + swing * sign) * sign * k, 0.86 * k, 0.12 * k, top, PERSON)
    flare = 0.2 + (0.86 - hem / k) * 0.25
    panel.polygon(((-0.24 * k, 1.44 * k), (0.24 * k, 1.44 * k), (flare * k, hem), (-flare * k, hem)), top, PERSON)
    if dice.chance(0.3):
        panel.rect(0.16 * k, 0.8 * k, 0.42 * k, 1.12 * k, dice.colour(CLOTH), PERSON)
    _head(panel, 0, 1.6 * k, skin, hair, PERSON)


def _head(panel: Panel, u: float, v: float, skin: Colour, hair: Colour, label: int) -> None:
    panel.disc(u, v, 0.125, skin, label, 1.2)
    panel.polygon([(u + 0.14 * c, v + 0.03 + 0.15 * max(s, 0)) for c, s in _CIRCLE], hair, label)


def rider(panel: Panel, dice: Dice, seat: float) -> None:
    """The figure of `person`, seated on a two-wheeler that faces +u."""
    top, legs = dice.colour(CLOTH), dice.colour(CLOTH)
    wide = 0.34 / max(abs(panel.dx), 0.5)
    panel.stroke(-0.18, seat + 0.05, 0.28, seat - 0.12, 0.2, legs, RIDER)
    panel.stroke(0.28, seat - 0.12, 0.08, 0.22, 0.16, legs, RIDER)
    panel.stroke(-0.2, seat, 0.14, seat + 0.58, wide, top, RIDER)
    panel.stroke(0.12, seat + 0.48, 0.5, seat + 0.2, 0.12, top, RIDER)
    _head(panel, 0.24, seat + 0.74, dice.colour(SKIN, 8), dice.colour(CLOTH), RIDER)


def bicycle(panel: Panel, dice: Dice) -> None:
    frame = dice.colour(PAINT)
    for u in (-0.54, 0.54):
        panel.ring(u, 0.35, 0.35, RUBBER, BICYCLE)
    for a, b in (((-0.54, 0.35), (-0.2, 0.85)), ((-0.54, 0.35), (0, 0.33)), ((0, 0.33), (-0.2, 0.85)),
                 ((0, 0.33), (0.38, 0.82)), ((-0.18, 0.78), (0.38, 0.82)), ((0.54, 0.35), (0.36, 1.0))):
        panel.stroke(*a, *b, 0.06, frame, BICYCLE)
    panel.stroke(-0.34, 0.9, -0.08, 0.9, 0.08, RUBBER, BICYCLE)
    panel.stroke(0.26, 1.02, 0.46, 1.0, 0.06, RUBBER, BICYCLE)
    if dice.chance(0.3):
        panel.rect(0.4, 0.72, 0.72, 0.96, dice.colour(MASONRY), BICYCLE)


def motorcycle(panel: Panel, dice: Dice) -> None:
    body = dice.colour(PAINT)
    for u in (-0.66, 0.66):
        panel.disc(u, 0.33, 0.33, RUBBER, MOTORCYCLE)
        panel.disc(u, 0.33, 0.17, STEEL)
    panel.polygon(((-0.6, 0.5), (-0.3, 0.25), (0.3, 0.22), (0.42, 0.6), (0.2, 0.7), (-0.7, 0.72)), (58, 58, 62), MOTORCYCLE)
    panel.polygon(((-0.9, 0.72), (-0.5, 0.62), (0.0, 0.66), (0.4, 0.78), (0.3, 0.98), (0.05, 0.95)), body, MOTORCYCLE)
    panel.stroke(-0.75, 0.84, 0.0, 0.82, 0.13, RUBBER, MOTORCYCLE)
    panel.stroke(0.66, 0.33, 0.36, 1.06, 0.09, STEEL, MOTORCYCLE)
    panel.polygon(((0.34, 0.8), (0.62, 0.82), (0.5, 1.16), (0.34, 1.12)), body, MOTORCYCLE)
    panel.stroke(-0.85, 0.3, -0.1, 0.26, 0.1, (190, 190, 190), MOTORCYCLE)


# name: length, width, belt, roof, then the cabin's rear foot, rear roof, front roof, front foot (metres from the rear)
CAR_BODIES: tuple[tuple[float, ...], ...] = (
    (4.5, 1.80, 0.92, 1.44, 0.6, 1.2, 2.5, 3.3),  # saloon
    (3.9, 1.72, 0.92, 1.48, 0.0, 0.35, 2.1, 2.9),  # hatchback
    (4.6, 1.80, 0.92, 1.48, 0.0, 0.4, 2.7, 3.4),  # estate
    (4.7, 1.92, 1.10, 1.78, 0.0, 0.25, 2.7, 3.4),  # off-roader
    (4.8, 1.92, 1.12, 1.98, 0.0, 0.1, 3.4, 4.3),  # van
    (5.2, 1.92, 1.08, 1.80, 1.9, 2.0, 3.2, 3.9),  # pick-up
)


def car(long: Panel, end: Panel, dice: Dice, shape: tuple[float, ...], nose: int) -> None:
    """A car; `nose` is 1 if it faces +u of its long side, else 0."""
    length, width, belt, roof, foot0, roof0, roof1, foot1 = shape
    paint, front = dice.colour(PAINT), nose == 0

    def along(*corners: Range) -> list[Range]:
        return [(t if nose else length - t, v) for t, v in corners]

    glass = tuple(int(c * dice.between(0.8, 1.3)) for c in GLASS)
    inset = 0.16  # how far the roof is narrower than the belt, per side
    cabin = end.moved(long, (foot0 + roof0) / 2 if nose else length - (foot1 + roof1) / 2)

    def flank() -> None:
        middle, sill, lintel = (roof0 + roof1) / 2, belt + 0.03, roof - 0.1
        long.polygon(along((foot0, belt), (roof0, roof), (roof1, roof), (foot1, belt)), paint, CAR)
        long.polygon(along((foot0 + 0.3, sill), (roof0 + 0.1, lintel), (middle, lintel), (middle, sill)), glass)
        long.polygon(along((middle + 0.12, sill), (middle + 0.12, lintel), (roof1, lintel), (foot1 - 0.2, sill)), glass)
        long.polygon(along((0, 0.28), (0, belt), (foot1, belt), (length - 0.1, belt - 0.2), (length, 0.28)), paint, CAR)
        shadow = tuple(c * 2 // 3 for c in paint)
        long.polygon(along((0.05, 0.22), (0.05, 0.36), (length, 0.36), (length, 0.22)), shadow, CAR)
        for t in (0.78, length - 0.82):
            u = t if nose else length - t
            long.disc(u, 0.33, 0.35, RUBBER, CAR)
            long.disc(u, 0.33, 0.19, (150, 150, 154))

    def face() -> None:
        # Boot lid or bonnet, the pillar between the cabin's two faces, and the roof lie on no panel.
        rim, top = (along((foot0, belt), (roof0, roof)) if nose else along((foot1, belt), (roof1, roof)))
        far = roof1 if nose else length - roof0
        sill, eave = cabin.points(((0.04, belt), (inset, roof))), cabin.points(((width - inset, roof),))
        for points in ([*end.points(((0, belt), (width, belt))), *cabin.points(((width, belt), (0, belt)))],
                       [*long.points((rim, top)), sill[1], sill[0]],
                       [*long.points((top, (far, roof))), *end.moved(long, far).points(((width - inset, roof),)), *eave, sill[1]]):
            end.canvas.polygon(points, end.canvas.lit(paint, 1.12, end.z), CAR)
        cabin.polygon(((0.04, belt), (inset, roof), (width - inset, roof), (width - 0.04, belt)), paint, CAR)
        cabin.polygon(((0.16, belt), (inset + 0.08, roof - 0.1), (width - inset - 0.08, roof - 0.1), (width - 0.16, belt)),
                      glass)
        for u in (0.06, width - 0.32):
            end.rect(u, 0, u + 0.26, 0.4, RUBBER, CAR)
        end.rect(0, 0.28, width, belt, paint, CAR)
        end.rect(0.02, 0.26, width - 0.02, 0.42, tuple(c // 2 for c in paint), CAR)
        lamp = (244, 240, 214) if front else (200, 24, 24)
        for u in (0.04, width - 0.42):
            end.rect(u, belt - 0.36, u + 0.38, belt - 0.2, lamp)
        if front:
            end.rect(0.5, belt - 0.42, width - 0.5, belt - 0.24, RUBBER)
        end.rect(width / 2 - 0.26, 0.44, width / 2 + 0.26, 0.56, (226, 222, 200))

    _box(long, end, flank, face)


def _box(long: Panel, end: Panel, flank: Callable[[], None], face: Callable[[], None]) -> None:
    """Paint the two faces of a vehicle; the one that may be hidden behind the other goes first."""
    for draw in (flank, face) if abs(long.dz) > abs(end.dz) else (face, flank):
        draw()


def bus(long: Panel, end: Panel, dice: Dice, length: float, width: float, nose: int) -> None:
    paint, stripe, double = dice.colour(LIVERY), dice.colour(LIVERY), dice.chance(0.2)
    high = 4.2 if double else dice.between(2.9, 3.2)

    def flank() -> None:
        long.rect(0, 0.3, length, high, paint, BUS)
        long.rect(0, 0.62, length, 0.85, stripe)
        for v in (1.25, 2.75) if double else (1.25,):
            long.rect(0.25, v, length - 0.25, v + 1.05, GLASS)
            for k in range(1, 7):
                long.stroke(k * length / 7, v, k * length / 7, v + 1.05, 0.14, paint)
        for u in (length * 0.08, length * 0.5):
            long.rect(u, 0.4, u + 1.1, 2.3, (66, 76, 84))
            long.stroke(u + 0.55, 0.4, u + 0.55, 2.3, 0.08, paint)
        for u in (length * 0.24, length * 0.8):
            long.disc(u, 0.48, 0.5, RUBBER, BUS)
            long.disc(u, 0.48, 0.24, STEEL)

    def face() -> None:
        for u in (0.1, width - 0.45):
            end.rect(u, 0, u + 0.35, 0.5, RUBBER, BUS)
        end.rect(0, 0.3, width, high, paint, BUS)
        end.rect(0.15, 1.15 if nose == 0 else 1.6, width - 0.15, 2.45, GLASS)
        if double:
            end.rect(0.15, 3.0, width - 0.15, 3.9, GLASS)
        end.rect(0.5, high - 0.4, width - 0.5, high - 0.15, (236, 150, 40) if nose == 0 else stripe)
        for u in (0.1, width - 0.5):
            end.rect(u, 0.6, u + 0.4, 0.85, (244, 240, 214) if nose == 0 else (200, 24, 24))

    _box(long, end, flank, face)


def truck(long: Panel, end: Panel, dice: Dice, length: float, width: float, nose: int) -> None:
    cab, cargo, bed = dice.colour(LIVERY), dice.colour((*LIVERY, *MASONRY[2:5])), dice.pick(("box", "box", "tipper"))
    high, split = (dice.between(3.3, 3.8) if bed == "box" else 2.1), length - 2.3
    away = end.moved(long, 2.4)

    def side(t0: float, v0: float, t1: float, v1: float, colour: Colour, label: int | None = None) -> None:
        long.rect(*((t0, v0, t1, v1) if nose else (length - t1, v0, length - t0, v1)), colour, label)

    def flank() -> None:
        side(0, 0.55, length - 0.3, 0.95, (48, 48, 52), TRUCK)
        side(0, 0.95, split, high, cargo, TRUCK)
        for k in range(1, 5):  # ribs, where a bus has windows
            side(split * k / 5, 1.0, split * k / 5 + 0.07, high, tuple(c * 4 // 5 for c in cargo))
        side(split + 0.25, 0.5, length, 2.6, cab, TRUCK)
        side(split + 0.75, 1.6, length - 0.2, 2.35, GLASS)
        for t in (0.9, 1.95, length - 1.0):
            u = t if nose else length - t
            long.disc(u, 0.5, 0.5, RUBBER, TRUCK)
            long.disc(u, 0.5, 0.22, STEEL)

    def face() -> None:
        for u in (0.08, width - 0.5):
            end.rect(u, 0, u + 0.42, 0.8, RUBBER, TRUCK)
        if nose == 0:
            away.rect(0, 1.0, width, high, cargo, TRUCK)
            end.rect(0.05, 0.5, width - 0.05, 2.6, cab, TRUCK)
            end.rect(0.2, 1.55, width - 0.2, 2.35, GLASS)
            end.rect(0.5, 0.75, width - 0.5, 1.35, (50, 50, 54))
        else:
            end.rect(0, 0.95, width, high, cargo, TRUCK)
            end.rect(0, 0.55, width, 0.95, (48, 48, 52), TRUCK)
            end.stroke(width / 2, 1.0, width / 2, high, 0.08, (60, 60, 62))
            end.rect(0.06, high - 0.1, width - 0.06, high, (90, 90, 92))
        for u in (0.1, width - 0.5):
            end.rect(u, 0.62, u + 0.4, 0.84, (244, 240, 214) if nose == 0 else (200, 24, 24))

    _box(long, end, flank, face)


def train(long: Panel, end: Panel, dice: Dice, length: float, width: float, nose: int) -> None:
    """A tram: the body of a bus, longer, on rails, with skirts instead of wheels and a pantograph."""
    paint, stripe = dice.colour(LIVERY), dice.colour(LIVERY)

    def flank() -> None:
        long.rect(0, 0.2, length, 3.3, paint, TRAIN)
        long.rect(0.4, 3.3, length - 0.4, 3.6, (110, 112, 116), TRAIN)
        long.rect(0, 0.2, length, 0.7, stripe)
        long.rect(0.3, 1.3, length - 0.3, 2.5, GLASS)
        for k in range(3):
            u = length * (0.12 + 0.33 * k)
            long.rect(u, 0.35, u + 1.4, 2.6, stripe)
            long.rect(u + 0.2, 1.1, u + 1.2, 2.4, (70, 82, 92))
            long.rect(u + 4.2, 0.25, u + 4.7, 3.3, (48, 48, 50))
        long.stroke(length * 0.3, 3.6, length * 0.36, 4.4, 0.1, (60, 60, 64), TRAIN)
        long.stroke(length * 0.36, 4.4, length * 0.3, 5.0, 0.1, (60, 60, 64), TRAIN)

    def face() -> None:
        end.rect(0.3, 3.3, width - 0.3, 3.6, (110, 112, 116), TRAIN)
        end.rect(0, 0.2, width, 3.3, paint, TRAIN)
        end.polygon(((0.2, 1.2), (0.2, 2.2), (0.4, 2.9), (width - 0.4, 2.9), (width - 0.2, 2.2), (width - 0.2, 1.2)), GLASS)
        end.rect(0, 0.2, width, 0.7, stripe)
        for u in (0.2, width - 0.5):
            end.rect(u, 0.8, u + 0.3, 1.0, (244, 240, 214))
        end.rect(0.7, 2.95, width - 0.7, 3.2, (236, 150, 40))

    _box(long, end, flank, face)


def tree(panel: Panel, dice: Dice, palm: bool) -> None:
    high, green = dice.between(5, 9), dice.colour(FOLIAGE, 18)
    bark = dice.colour(((92, 74, 56), (70, 62, 54)))
    if palm:
        panel.stroke(0, 0, 0.3, high, 0.35, (150, 122, 92), VEGETATION)
        for c, s in _CIRCLE:
            reach = dice.between(1.3, 2.1)
            panel.polygon(((0.3, high), (0.3 + c * reach * 0.6, high + s * reach * 0.7 + 0.35),
                           (0.3 + c * reach, high + s * reach - 0.5)), green, VEGETATION)
        return
    panel.stroke(0, 0, dice.between(-0.3, 0.3), high * 0.6, dice.between(0.25, 0.45), bark, VEGETATION)
    wide = dice.between(1.2, 2.6)
    for k in range(9):  # lower clumps first and darker: light comes from above
        v = high * (0.45 + 0.055 * k)
        spread = wide * (1.1 - 0.07 * k)
        tone = tuple(int(c * (0.62 + 0.07 * k)) for c in green)
        panel.disc(dice.between(-spread, spread), v, dice.between(0.6, 1.1) * wide * 0.6, tone, VEGETATION,
                   dice.between(0.7, 1))


def bush(panel: Panel, dice: Dice, high: float) -> None:
    green = dice.colour(FOLIAGE, 18)
    for k in range(4):
        panel.disc(dice.between(-1, 1) * high, high * 0.35, high * dice.between(0.4, 0.65),
                   tuple(int(c * (0.75 + 0.12 * k)) for c in green), VEGETATION)


def sign(panel: Panel, dice: Dice) -> None:
    high, r = dice.between(2.2, 3.0), dice.between(0.34, 0.5)
    panel.stroke(0, 0, 0, high, 0.09, dice.colour((STEEL, (150, 150, 150))), POLE)
    kind = dice.count(5)
    if kind == 0:  # prohibition
        panel.disc(0, high, r, (206, 30, 30), SIGN)
        panel.disc(0, high, r * 0.66, (240, 238, 232))
    elif kind == 1:  # warning or give way
        up = dice.pick((-1, 1))
        for k, colour in ((1.0, (206, 30, 30)), (0.6, (240, 236, 220))):
            panel.polygon(((-r * k, high - r * k * up * 0.8), (r * k, high - r * k * up * 0.8), (0, high + r * k * up)),
                          colour, SIGN)
    elif kind == 2:  # direction board
        panel.rect(-r * 1.9, high - r * 0.7, r * 1.9, high + r * 0.7, dice.pick(((24, 70, 160), (20, 110, 70))), SIGN)
        panel.stroke(-r * 1.2, high, r * 1.2, high, 0.12, (240, 240, 240))
    elif kind == 3:  # stop
        panel.disc(0, high, r, (196, 24, 28), SIGN)
        panel.stroke(-r * 0.6, high, r * 0.6, high, 0.16, (240, 240, 240))
    elif kind == 4:  # diamond
        panel.polygon(((-r, high), (0, high + r), (r, high), (0, high - r)), (236, 190, 30), SIGN)
    else:  # mandatory or parking
        panel.rect(-r * 0.8, high - r * 0.8, r * 0.8, high + r * 0.8, (28, 80, 180), SIGN)
        panel.stroke(0, high - r * 0.5, 0, high + r * 0.5, 0.14, (240, 240, 240))


def traffic_light(panel: Panel, dice: Dice, arm: float) -> None:
    """Lamps on a post, and on an arm over the road when `arm` (metres, signed) is not zero."""
    case, lit = dice.colour(((28, 30, 30), (34, 40, 36), (186, 150, 40))), dice.count(2)
    high = 5.2 if arm else 3.1
    panel.stroke(0, 0, 0, high, 0.16, STEEL, POLE)
    if arm:
        panel.stroke(0, high, arm, high, 0.13, STEEL, POLE)
    for u, v in ((0.0, 2.2), (arm, 4.5)) if arm else ((0.0, 2.2),):
        panel.rect(u - 0.22, v, u + 0.22, v + 1.1, case, LIGHT)
        for k, colour in enumerate(((40, 220, 110), (250, 180, 40), (244, 40, 36))):
            panel.disc(u, v + 0.2 + 0.34 * k, 0.16, colour if k == lit else (52, 50, 48), LIGHT)


def lamp_post(panel: Panel, dice: Dice, towards: float) -> None:
    high, colour = dice.between(5, 8), dice.colour((STEEL, (62, 70, 66), (140, 128, 110)))
    panel.stroke(0, 0, 0, high, 0.17, colour, POLE)
    if dice.chance(0.7):
        panel.stroke(0, high, 1.5 * towards, high + 0.3, 0.12, colour, POLE)
        panel.stroke(1.1 * towards, high + 0.22, 1.7 * towards, high + 0.3, 0.2, (200, 200, 190), POLE)


def clutter(panel: Panel, dice: Dice) -> None:
    """Bins, boxes and hydrants: things outside the 19 classes."""
    high = dice.between(0.6, 1.2)
    panel.rect(-0.3, 0, 0.3, high, dice.colour(((60, 84, 66), (70, 74, 80), (180, 60, 40), (200, 170, 60))), IGNORE_INDEX)
    panel.rect(-0.34, high, 0.34, high + 0.1, (44, 46, 48), IGNORE_INDEX)


def building(facade: Panel, gable: Panel, dice: Dice, length: float, storeys: int) -> None:
    """A house front along the street and its side wall; `gable` may be hidden by the next house."""
    kind = dice.pick(("plaster", "plaster", "brick", "glass"))
    base, floor = dice.between(3.4, 4.2), dice.between(2.9, 3.4)
    high = base + floor * (storeys - 1)
    colour = dice.colour(CLADDING if kind == "glass" else MASONRY, 16)
    trim = tuple(min(int(c * 1.22), 255) for c in colour)
    pane = dice.colour((GLASS, (70, 84, 96), (96, 104, 108), (40, 40, 44)), 10)
    gable.rect(0, 0, 30, high, colour, BUILDING)
    if kind != "glass" and storeys < 6 and dice.chance(0.5):  # a pitched roof
        roof = dice.colour(((120, 62, 48), (86, 80, 82), (140, 84, 60)))
        gable.polygon(((0, high), (4, high + 2.6), (8, high)), colour, BUILDING)
        ridge = facade.moved(gable, 2.0)
        facade.canvas.polygon([*facade.points(((0, high), (length, high))),
                               *ridge.points(((length, high + 2.0), (0, high + 2.0)))],
                              facade.canvas.lit(roof, facade.light, facade.z), BUILDING)
    facade.rect(0, 0, length, high, colour, BUILDING)
    columns = max(2, round(length / dice.between(2.2, 3.6)))
    pitch, wide = length / columns, dice.between(0.42, 0.62)
    tall = floor * dice.between(0.45, 0.65)
    far = facade.canvas.camera.focal / max(facade.z, NEAREST) < 3.0  # windows would be smaller than a pixel or two
    for wall, reach in ((facade, columns), (gable, 3)):
        for k in range(0 if far else storeys - 1):
            v = base + floor * k + 0.5
            if kind == "glass":
                wall.rect(0.2, v - 0.3, pitch * reach - 0.2, v + tall, pane)
                continue
            for j in range(reach):
                u = pitch * (j + (1 - wide) / 2)
                wall.rect(u, v, u + pitch * wide, v + tall, pane)
                wall.rect(u, v - 0.22, u + pitch * wide, v, trim)
    if kind == "brick" and not far:
        for k in range(2, int(high)):
            facade.stroke(0, k, length, k, 0.08, tuple(c * 9 // 10 for c in colour))
    elif kind == "glass":
        for j in range(1, columns):
            facade.stroke(pitch * j, base, pitch * j, high, 0.12, trim)
    facade.rect(0, base - 0.4, length, base - 0.1, trim)
    shop = dice.chance(0.5)
    for j in range(columns):
        u = pitch * j
        if j == columns // 2:
            facade.rect(u + 0.4, 0, u + 1.5, 2.3, dice.colour(((70, 46, 34), (40, 60, 50), (50, 50, 56))))
        else:
            facade.rect(u + 0.3, 0.4 if shop else 1.1, u + pitch - 0.3, 2.6, pane)
    if shop:
        facade.rect(0.2, 2.6, length - 0.2, 3.2, dice.colour(CLOTH))


def wall(panel: Panel, dice: Dice, length: float) -> None:
    """Free-standing masonry: the colours of buildings, but low and blind."""
    high, colour = dice.between(1.5, 2.8), dice.colour(MASONRY)
    panel.rect(0, 0, length, high, colour, WALL)
    for k in range(1, int(high / 0.5)):
        panel.stroke(0, k * 0.5, length, k * 0.5, 0.06, tuple(c * 4 // 5 for c in colour))
    panel.rect(0, high - 0.2, length, high, tuple(min(int(c * 1.2), 255) for c in colour))


def fence(panel: Panel, dice: Dice, length: float) -> None:
    """Railings, pickets or a guard rail; what shows through the holes is labelled fence too."""
    high, colour = dice.between(1.1, 2.2), dice.colour((*MASONRY[2:6], (50, 60, 54), (40, 40, 44), STEEL))
    points = panel.points(((0, 0), (0, high), (length, high), (length, 0)))
    panel.canvas.polygon(points, (*colour, 70), FENCE)
    for v in (high * 0.2, high * 0.95):
        panel.stroke(0, v, length, v, 0.1, colour, FENCE)
    step = dice.pick((0.35, 0.6, 1.2))
    for k in range(int(length / step) + 1):
        panel.stroke(k * step, 0, k * step, high, step * 0.25, colour, FENCE)


class _Street:
    """One scene in the making: the places of all things, then one pass from far to near."""

    def __init__(self, style: StreetStyle, rng: np.random.Generator, height: int, width: int) -> None:
        self.style, self.dice = style, Dice(rng)
        dice = self.dice
        self.zenith = dice.colour(style.sky, 10)
        self.pale = tuple((c + 2 * p) // 3 for c, p in zip(self.zenith, (232, 234, 232), strict=True))
        camera = Camera(dice.between(*style.focal) * width, dice.between(0.38, 0.62) * width,
                        dice.between(*style.horizon) * height, dice.between(*style.camera_height))
        self.height, self.width = height, width
        self.canvas = Canvas(camera, height, width, (self.pale, style.haze))
        self.sun = dice.between(*style.sun)
        self.sun_side = dice.pick((-1, 1))  # where the sun stands: it lights the faces that look that way
        self.kerb = {-1: -dice.between(*style.road_left), 1: dice.between(*style.road_right)}
        self.front = {side: self.kerb[side] + side * dice.between(*style.sidewalk) for side in (-1, 1)}
        self.crossing = dice.between(14, 34) if dice.chance(0.45) else 1000.0  # distance to the side street
        self.side_street = dice.between(7, 12)
        self.things: list[tuple[float, Callable[[], None]]] = []

    # Places

    def light(self, facing: int) -> float:
        """Brightness of a wall that looks left (-1), right (1) or at the camera (0)."""
        return 1.0 if facing == 0 else 1 + 0.3 * self.sun * (1 if facing == self.sun_side else -1.6)

    def stand(self, x: float, z: float, draw: Callable[[Panel], None], turn: bool = False) -> None:
        """Queue a flat object; `turn` also lets it look any way along the street."""
        dx, dz = self.dice.pick(((1.0, 0.0), (0.8, 0.6), (0.6, 0.8))) if turn else (1.0, 0.0)
        flip = self.dice.pick((-1, 1)) if turn else 1
        panel = Panel(self.canvas, x, z, dx * flip, dz, self.light(0) if self.sun < 0.2 else self.dice.between(0.85, 1.1))
        self.things.append((z, lambda: draw(panel)))

    def shadow(self, x0: float, x1: float, z0: float, z1: float) -> None:
        """Queue the shade under an object, just behind it in painting order."""
        alpha = int(90 + 90 * self.sun)
        stretch = -self.sun_side * 1.2 * self.sun
        x0, x1 = x0 + min(stretch, 0), x1 + max(stretch, 0)
        z0 = max(z0, NEAREST)
        self.things.append((z1 + 0.01, lambda: self.canvas.ground(x0, x1, z0, z1, (14, 16, 22, alpha))))

    def vehicle(self, draw: Callable[[Panel, Panel], None], x: float, z: float, length: float, width: float,
                across: bool) -> None:
        """Queue a box-shaped vehicle centred at x with its near end at z, along the street or across it."""
        along_x, along_z = (length, width) if across else (width, length)
        near = x - along_x / 2 if x > 0 else x + along_x / 2
        outward = 1 if x > 0 else -1
        facing = Panel(self.canvas, near, z, outward, 0, self.light(0))
        flank = Panel(self.canvas, near, z, 0, 1, self.light(-outward))
        long, end = (facing, flank) if across else (flank, facing)
        self.shadow(x - along_x / 2, x + along_x / 2, z - 0.1, z + along_z)
        self.things.append((z, lambda: draw(long, end)))

    def car(self, x: float, z: float, nose: int, across: bool = False) -> float:
        shape = self.dice.pick(CAR_BODIES)
        self.vehicle(lambda long, end: car(long, end, self.dice, shape, nose), x, z, shape[0], shape[1], across)
        return shape[0]

    # The steps, in painting order

    def sky(self) -> None:
        canvas, dice, bottom = self.canvas, self.dice, int(self.canvas.camera.y) + 2
        for k in range(12):
            y0, y1 = bottom * k // 12, bottom * (k + 1) // 12
            colour = tuple((c * (12 - k) + p * k) // 12 for c, p in zip(self.zenith, self.pale, strict=True))
            canvas.polygon([(0, y0), (self.width, y0), (self.width, y1), (0, y1)], colour, SKY)
        for _ in range(dice.count(5)):
            x, y = dice.between(0, self.width), dice.between(0, bottom)
            for _ in range(4):
                r = dice.between(0.02, 0.07) * self.width
                x += dice.between(-1.2, 1.2) * r
                canvas.polygon([(int(x + 1.8 * r * c), int(y + 0.5 * r * s)) for c, s in _CIRCLE], (*self.pale, 120), SKY)

    def distance(self) -> None:
        """What closes the view: a row of hazy houses and trees, with gaps."""
        dice, x = self.dice, -120.0
        while x < 120:
            wide = dice.between(10, 26)
            panel = Panel(self.canvas, x, 130)
            if dice.chance(0.45):
                panel.rect(0, 0, wide, dice.between(7, 9 + 3 * self.style.storeys[1]), dice.colour(MASONRY), BUILDING)
            elif dice.chance(0.8):
                for k in range(3):
                    panel.disc(wide * k / 3, 3, wide * dice.between(0.25, 0.4), dice.colour(FOLIAGE), VEGETATION)
            x += wide

    def pavement(self) -> None:
        canvas, dice, style = self.canvas, self.dice, self.style
        asphalt = dice.colour(((98, 98, 100), (84, 84, 88), (112, 108, 104)), 12)
        slabs = dice.colour(((148, 142, 134), (128, 124, 120), (160, 148, 136)), 12)
        grass = ((92, 122, 52), (110, 130, 66), (142, 128, 84), (84, 108, 56))
        canvas.ground(-300, 300, NEAREST, 400, dice.colour(grass), TERRAIN)
        left, right = self.kerb[-1], self.kerb[1]
        for side in (-1, 1):
            x0, x1 = self.kerb[side], self.front[side]
            canvas.ground(x0, x1 + side * 2.5, NEAREST, 200, slabs, SIDEWALK)
            for k in range(4, 40, 2):
                canvas.ground(x0, x1, k, k + 0.07, (60, 58, 56, 90))
            if dice.chance(style.verge):
                canvas.ground(x0 + side * 0.3, x0 + (x1 - x0) * dice.between(0.3, 0.55), NEAREST, 200,
                              dice.colour(grass), TERRAIN)
        canvas.ground(left, right, NEAREST, 200, asphalt, ROAD)
        if self.crossing < 100:
            z0, z1 = self.crossing, self.crossing + self.side_street
            canvas.ground(-150, 150, z0, z1, asphalt, ROAD)
            if dice.chance(0.7):
                for k in range(int((right - left) / 1.1)):
                    x = left + 0.4 + 1.1 * k
                    canvas.ground(x, x + 0.55, z0 - 4, z0 - 1.4, (222, 222, 216))
        for x0, x1 in ((left, left + 0.25), (right - 0.25, right)):
            canvas.ground(x0, x1, NEAREST, 200, (176, 172, 164), SIDEWALK)
        if dice.chance(0.6):  # patched asphalt
            x, z = dice.between(left, right - 1.5), dice.between(5, 16)
            canvas.ground(x, x + 1.5, z, z + dice.between(2, 8), (30, 30, 32, 80))
        lanes = max(2, round((right - left) / 3.6))
        centre = dice.pick(((228, 226, 218), (226, 226, 222), (214, 178, 60)))
        for lane in range(1, lanes):
            x = left + (right - left) * lane / lanes
            solid = lanes > 2 and lane == lanes // 2
            for k in range(3, 70, 6):
                canvas.ground(x - 0.08, x + 0.08, k, k + (6 if solid else 2.6), centre if solid else (224, 224, 218))

    def rows(self) -> None:
        """Houses, parks, walls and fences on both sides, each row from far to near."""
        dice, style, weights = self.dice, self.style, self.style.lots
        for side in (-1, 1):
            lots, z = [], NEAREST
            while z < 110:
                length = dice.between(7, 18)
                if z < self.crossing + self.side_street and z + length > self.crossing - 1.5:
                    if self.crossing - 1.5 - z > 4:
                        lots.append((z, self.crossing - 1.5 - z))
                    z = self.crossing + self.side_street + 1.5
                    continue
                lots.append((z, length))
                z += length
            enclosure = dice.pick((2, 3))  # one wall or one fence per image and side keeps them rare but long
            walled = dice.chance(weights[2] if enclosure == 2 else weights[3])
            storeys = dice.between(*style.storeys)
            for z, length in reversed(lots):
                x = self.front[side]
                facade = Panel(self.canvas, x, z, 0, 1, self.light(-side))
                across = Panel(self.canvas, x, z, side, 0, self.light(0))
                if dice.chance(weights[0] / (weights[0] + weights[1])):
                    if self.sun > 0.2 and side == self.sun_side:
                        self.canvas.ground(x, x - side * 6 * self.sun * 2, z, z + length, (16, 18, 30, int(130 * self.sun)))
                    floors = max(1, round(storeys + dice.between(-1.5, 1.5)))
                    setback = facade.moved(across, dice.between(1.5, 4)) if walled else facade
                    building(setback, across._replace(x=setback.x), dice, length, floors)
                else:
                    self.canvas.ground(x, x + side * 40, z, z + length, dice.colour(((92, 122, 52), (118, 124, 70))), TERRAIN)
                    for k in range(3):
                        place = Panel(self.canvas, x + side * dice.between(2, 14), z + length * (3 - k) / 3, 1, 0, self.light(0))
                        if dice.chance(0.6):
                            tree(place, dice, dice.chance(style.palms))
                        else:
                            bush(place, dice, dice.between(0.8, 2))
                if walled:
                    (wall if enclosure == 2 else fence)(facade, dice, length)

    def furniture(self) -> None:
        dice, style = self.dice, self.style
        for side in (-1, 1):
            edge, z = self.kerb[side] + side * 0.5, dice.between(6, 12)
            while z < 70:
                if dice.chance(style.furniture):
                    self.stand(edge, z, lambda p, s=side: lamp_post(p, dice, -s))
                if dice.chance(style.furniture):
                    self.stand(edge, z + 3, lambda p: sign(p, dice))
                if dice.chance(style.furniture * 0.6):
                    self.stand(self.front[side] - side * 0.5, z + dice.between(0, 6), lambda p: clutter(p, dice))
                if dice.chance(style.trees):
                    palm = dice.chance(style.palms)
                    x = edge + side * 0.6
                    self.shadow(x - 1.5, x + 1.5, z + 6 - 1, z + 6 + 1)
                    self.stand(x, z + 6, lambda p, q=palm: tree(p, dice, q))
                z += dice.between(9, 15)
            if self.crossing < 100 and dice.chance(0.85) or dice.chance(0.2):
                arm = -side * dice.between(2.5, 4.5) if dice.chance(0.4) else 0.0
                self.stand(edge, min(self.crossing - 1.5, 22), lambda p, a=arm: traffic_light(p, dice, a))

    def traffic(self) -> None:
        dice, style = self.dice, self.style
        left, right = self.kerb[-1], self.kerb[1]
        _, _, truck_chance, bus_chance, train_chance = style.rare
        tram = dice.chance(train_chance)
        z_free = {-1: 0.0, 1: 0.0}  # up to where a large vehicle occupies each direction
        for draw, chance, length, wide in ((train, 1.0 if tram else 0.0, dice.between(18, 28), 2.5),
                                           (bus, bus_chance, dice.between(8, 13), 2.5),
                                           (truck, truck_chance, dice.between(6.5, 11), 2.4)):
            if not dice.chance(chance):
                continue
            side, z = dice.pick((-1, 1)), dice.between(9, 20)
            across = self.crossing < 26 and dice.chance(0.4)
            if across:
                x, z = dice.between(-5, 5), self.crossing + 2.5
            else:
                z = max(z, z_free[side])
                x = left / 2 - 0.3 if side == -1 else max(right - 1.7, 1.4)
                z_free[side] = z + length + 3
            if draw is train and not across:
                for rail in (x - 0.75, x + 0.75):
                    self.canvas.ground(rail - 0.06, rail + 0.06, NEAREST, 90, (52, 50, 50))
            nose = dice.count(1) if across else (0 if side == -1 else 1)
            self.vehicle(partial(draw, dice=dice, length=length, width=wide, nose=nose), x, z, length, wide, across)
        for side in (-1, 1):
            z = dice.between(4.5, 9)
            while z < 60:
                blocked = self.crossing - 7 < z < self.crossing + self.side_street + 1 or z_free[side] > 0 and z < z_free[side]
                if not blocked and dice.chance(style.parked):
                    z += self.car(self.kerb[side] - side * 1.2, z, dice.count(1))
                z += dice.between(1, 5)
        for _ in range(dice.count(style.cars)):
            side = dice.pick((-1, 1))
            z = max(dice.between(9, 45), z_free[side])
            self.car(dice.between(left + 3.6, -1.4) if side == -1 else dice.between(-0.4, max(right - 3.4, 0.2)), z,
                     1 if side == 1 else 0)
        if self.crossing < 30 and dice.chance(0.35):
            self.car(dice.between(-7, 7), self.crossing + dice.between(1, 4), dice.count(1), across=True)

    def people(self) -> None:
        dice, style = self.dice, self.style
        for _ in range(dice.count(style.people)):
            side, z = dice.pick((-1, 1)), dice.between(7, 32)
            x = dice.between(self.kerb[side] + side * 0.7, self.front[side] - side * 0.4)
            if dice.chance(0.15):
                x = dice.between(self.kerb[-1], self.kerb[1])
            for k in range(1 + dice.count(2)):
                self.shadow(x + 0.6 * k - 0.25, x + 0.6 * k + 0.25, z - 0.2, z + 0.2)
                self.stand(x + 0.6 * k, z, lambda p: person(p, dice))
        for side in (-1, 1):
            if dice.chance(style.bicycles):
                z = dice.between(7, 20)
                for k in range(1 + dice.count(2)):
                    x = self.front[side] - side * dice.between(0.6, 1.1)
                    self.stand(x, z + 1.2 * k, lambda p: bicycle(p, dice), turn=True)
        rider_chance, motorcycle_chance = style.rare[:2]
        riding, parked = dice.chance(rider_chance), dice.chance(motorcycle_chance)
        if riding:
            x, z = dice.between(self.kerb[-1] * 0.6, self.kerb[1] - 0.6), dice.between(6.5, 14)
            motor = dice.chance(0.3)
            self.shadow(x - 0.5, x + 0.5, z - 0.3, z + 0.3)
            self.stand(x, z, lambda p: ((motorcycle if motor else bicycle)(p, dice), rider(p, dice, 0.86 if motor else 0.95)),
                       turn=True)
        if parked:
            side, z = dice.pick((-1, 1)), dice.between(6.5, 13)
            x = self.kerb[side] + side * dice.between(-0.6, 0.8)
            self.shadow(x - 0.6, x + 0.6, z - 0.3, z + 0.3)
            self.stand(x, z, lambda p: motorcycle(p, dice), turn=True)

    def hood(self) -> None:
        if self.style.hood:
            w, h, rise = self.width, self.height, self.style.hood
            points = [(0, h), (0, round(h * (1 - rise / 2)))]
            points += [(round(w * f), round(h * (1 - rise * k))) for f, k in ((0.2, 0.9), (0.5, 1), (0.8, 0.9), (1, 0.5))]
            self.canvas.polygon([*points, (w, h)], (40, 44, 46), IGNORE_INDEX)


def compose(style: StreetStyle, rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street in flat colours, before any camera.

    Args:
        style: layout statistics of the domain.
        rng: the only source of randomness.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        image ``(height, width, 3)`` uint8 RGB and train ids ``(height, width)`` uint8.
    """
    street = _Street(style, rng, height, width)
    for step in (street.sky, street.distance, street.pavement, street.rows, street.furniture, street.traffic, street.people):
        step()
    # Equal depths keep their order, so that the picture depends on the dice alone.
    for _, draw in sorted(street.things, key=lambda thing: -thing[0]):
        draw()
    street.hood()
    return np.array(street.canvas.image), np.array(street.canvas.labels)
