"""People and vehicles of the street scenes: each draws itself on the panels it is given, on the ground.

As in Cityscapes, the spokes of a wheel and what shows between them belong to the object.
"""

from __future__ import annotations

from collections.abc import Callable

from pgpc.data.streets.canvas import CIRCLE, Panel, Range
from pgpc.data.streets.palette import (
    BICYCLE,
    BUS,
    CAR,
    CLOTH,
    GLASS,
    LIVERY,
    MASONRY,
    MOTORCYCLE,
    PAINT,
    PERSON,
    RIDER,
    RUBBER,
    SKIN,
    STEEL,
    TRAIN,
    TRUCK,
    Color,
    Dice,
)


def person(panel: Panel, dice: Dice) -> None:
    """Draw a person who walks or stands."""
    k = dice.between(0.6, 0.75) if dice.chance(0.12) else dice.between(0.92, 1.08)
    top, legs, skin, hair = (
        dice.color(CLOTH),
        dice.color(CLOTH),
        dice.color(SKIN, 8),
        dice.color(CLOTH[-4:-1]),
    )
    stride, swing = dice.between(0.06, 0.28) * k, dice.between(-0.2, 0.25) * k
    hem = dice.pick((0.86, 0.8, 0.8, 0.5)) * k
    for sign in (-1, 1):
        panel.stroke(0.07 * sign, 0.9 * k, stride * sign, 0.06, 0.17 * k, legs, PERSON)
        panel.stroke(stride * sign, 0.05, stride * sign + 0.12, 0.05, 0.1, RUBBER, PERSON)
        panel.stroke(0.22 * sign * k, 1.38 * k, (0.26 + swing * sign) * sign * k, 0.86 * k, 0.12 * k, top, PERSON)
    flare = 0.2 + (0.86 - hem / k) * 0.25
    panel.polygon(((-0.24 * k, 1.44 * k), (0.24 * k, 1.44 * k), (flare * k, hem), (-flare * k, hem)), top, PERSON)
    if dice.chance(0.3):
        panel.rect(0.16 * k, 0.8 * k, 0.42 * k, 1.12 * k, dice.color(CLOTH), PERSON)
    _head(panel, 0, 1.6 * k, skin, hair, PERSON)


def _head(panel: Panel, u: float, v: float, skin: Color, hair: Color, label: int) -> None:
    panel.disc(u, v, 0.125, skin, label, 1.2)
    panel.polygon([(u + 0.14 * c, v + 0.03 + 0.15 * max(s, 0)) for c, s in CIRCLE], hair, label)


def rider(panel: Panel, dice: Dice, seat: float) -> None:
    """Draw a person seated on a two-wheeler that faces +u, `seat` meters above the ground."""
    top, legs = dice.color(CLOTH), dice.color(CLOTH)
    wide = 0.34 / max(abs(panel.dx), 0.5)
    panel.stroke(-0.18, seat + 0.05, 0.28, seat - 0.12, 0.2, legs, RIDER)
    panel.stroke(0.28, seat - 0.12, 0.08, 0.22, 0.16, legs, RIDER)
    panel.stroke(-0.2, seat, 0.14, seat + 0.58, wide, top, RIDER)
    panel.stroke(0.12, seat + 0.48, 0.5, seat + 0.2, 0.12, top, RIDER)
    _head(panel, 0.24, seat + 0.74, dice.color(SKIN, 8), dice.color(CLOTH), RIDER)


def bicycle(panel: Panel, dice: Dice) -> None:
    """Draw a bicycle that faces +u."""
    frame = dice.color(PAINT)
    for u in (-0.54, 0.54):
        panel.ring(u, 0.35, 0.35, RUBBER, BICYCLE)
    for (u0, v0), (u1, v1) in (
        ((-0.54, 0.35), (-0.2, 0.85)),
        ((-0.54, 0.35), (0, 0.33)),
        ((0, 0.33), (-0.2, 0.85)),
        ((0, 0.33), (0.38, 0.82)),
        ((-0.18, 0.78), (0.38, 0.82)),
        ((0.54, 0.35), (0.36, 1.0)),
    ):
        panel.stroke(u0, v0, u1, v1, 0.06, frame, BICYCLE)
    panel.stroke(-0.34, 0.9, -0.08, 0.9, 0.08, RUBBER, BICYCLE)
    panel.stroke(0.26, 1.02, 0.46, 1.0, 0.06, RUBBER, BICYCLE)
    if dice.chance(0.3):
        panel.rect(0.4, 0.72, 0.72, 0.96, dice.color(MASONRY), BICYCLE)


def motorcycle(panel: Panel, dice: Dice) -> None:
    """Draw a motorcycle that faces +u."""
    body = dice.color(PAINT)
    for u in (-0.66, 0.66):
        panel.disc(u, 0.33, 0.33, RUBBER, MOTORCYCLE)
        panel.disc(u, 0.33, 0.17, STEEL)
    panel.polygon(
        ((-0.6, 0.5), (-0.3, 0.25), (0.3, 0.22), (0.42, 0.6), (0.2, 0.7), (-0.7, 0.72)),
        (58, 58, 62),
        MOTORCYCLE,
    )
    panel.polygon(((-0.9, 0.72), (-0.5, 0.62), (0.0, 0.66), (0.4, 0.78), (0.3, 0.98), (0.05, 0.95)), body, MOTORCYCLE)
    panel.stroke(-0.75, 0.84, 0.0, 0.82, 0.13, RUBBER, MOTORCYCLE)
    panel.stroke(0.66, 0.33, 0.36, 1.06, 0.09, STEEL, MOTORCYCLE)
    panel.polygon(((0.34, 0.8), (0.62, 0.82), (0.5, 1.16), (0.34, 1.12)), body, MOTORCYCLE)
    panel.stroke(-0.85, 0.3, -0.1, 0.26, 0.1, (190, 190, 190), MOTORCYCLE)


# Meters: length, width, belt, roof; then from the rear, the cabin's rear foot and roof, front roof and foot.
CAR_BODIES: tuple[tuple[float, ...], ...] = (
    (4.5, 1.80, 0.92, 1.44, 0.6, 1.2, 2.5, 3.3),  # saloon
    (3.9, 1.72, 0.92, 1.48, 0.0, 0.35, 2.1, 2.9),  # hatchback
    (4.6, 1.80, 0.92, 1.48, 0.0, 0.4, 2.7, 3.4),  # estate
    (4.7, 1.92, 1.10, 1.78, 0.0, 0.25, 2.7, 3.4),  # off-roader
    (4.8, 1.92, 1.12, 1.98, 0.0, 0.1, 3.4, 4.3),  # van
    (5.2, 1.92, 1.08, 1.80, 1.9, 2.0, 3.2, 3.9),  # pick-up
)


def car(long: Panel, end: Panel, dice: Dice, shape: tuple[float, ...], nose: int) -> None:
    """Draw a car.

    Args:
        long: The panel of its long side.
        end: The panel of its end.
        dice: The dice that choose its looks.
        shape: One of `CAR_BODIES`.
        nose: 1 if it faces +u of its long side, else 0.
    """
    length, width, belt, roof, foot0, roof0, roof1, foot1 = shape
    paint, front = dice.color(PAINT), nose == 0
    lip = belt - 0.2 if front else belt  # a bonnet slopes down to its edge

    def along(*corners: Range) -> list[Range]:
        return [(t if nose else length - t, v) for t, v in corners]

    glass = tuple(int(c * dice.between(0.8, 1.3)) for c in GLASS)
    inset = 0.16  # how far the roof is narrower than the belt, per side
    cabin = end.moved(long, (foot0 + roof0) / 2 if nose else length - (foot1 + roof1) / 2)

    def flank() -> None:
        middle, sill, lintel = (roof0 + roof1) / 2, belt + 0.03, roof - 0.1
        long.polygon(along((foot0, belt), (roof0, roof), (roof1, roof), (foot1, belt)), paint, CAR)
        long.polygon(along((foot0 + 0.3, sill), (roof0 + 0.1, lintel), (middle, lintel), (middle, sill)), glass, CAR)
        long.polygon(
            along((middle + 0.12, sill), (middle + 0.12, lintel), (roof1, lintel), (foot1 - 0.2, sill)),
            glass,
            CAR,
        )
        long.polygon(along((0, 0.28), (0, belt), (foot1, belt), (length, belt - 0.2), (length, 0.28)), paint, CAR)
        shadow = tuple(c * 2 // 3 for c in paint)
        long.polygon(along((0.05, 0.22), (0.05, 0.36), (length, 0.36), (length, 0.22)), shadow, CAR)
        for t in (0.78, length - 0.82):
            u = t if nose else length - t
            long.disc(u, 0.33, 0.35, RUBBER, CAR)
            long.disc(u, 0.33, 0.19, (150, 150, 154))

    def face() -> None:
        # Boot lid or bonnet, the pillar between the cabin's two faces, and the roof lie on no panel.
        rim, top = along((foot0, belt), (roof0, roof)) if nose else along((foot1, belt), (roof1, roof))
        far = roof1 if nose else length - roof0
        sill, eave = cabin.points(((0.04, belt), (inset, roof))), cabin.points(((width - inset, roof),))
        for points in (
            [*end.points(((0, lip), (width, lip))), *cabin.points(((width, belt), (0, belt)))],
            [*long.points((rim, top)), sill[1], sill[0]],
            [
                *long.points((top, (far, roof))),
                *end.moved(long, far).points(((width - inset, roof),)),
                *eave,
                sill[1],
            ],
        ):
            end.canvas.polygon(points, end.canvas.lit(paint, 1.12, end.z), CAR)
        cabin.polygon(((0.04, belt), (inset, roof), (width - inset, roof), (width - 0.04, belt)), paint, CAR)
        cabin.polygon(
            (
                (0.16, belt),
                (inset + 0.08, roof - 0.1),
                (width - inset - 0.08, roof - 0.1),
                (width - 0.16, belt),
            ),
            glass,
            CAR,
        )
        for u in (0.06, width - 0.32):
            end.rect(u, 0, u + 0.26, 0.4, RUBBER, CAR)
        end.rect(0, 0.28, width, lip, paint, CAR)
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
    """Draw a bus, at times with two decks.

    Args:
        long: The panel of its long side.
        end: The panel of its end.
        dice: The dice that choose its looks.
        length: Its length in meters.
        width: Its width in meters.
        nose: 1 if it faces +u of its long side, else 0.
    """
    paint, stripe, double = dice.color(LIVERY), dice.color(LIVERY), dice.chance(0.2)
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
    """Draw a truck with a box or a tipper.

    Args:
        long: The panel of its long side.
        end: The panel of its end.
        dice: The dice that choose its looks.
        length: Its length in meters.
        width: Its width in meters.
        nose: 1 if it faces +u of its long side, else 0.
    """
    cab, cargo, bed = (
        dice.color(LIVERY),
        dice.color((*LIVERY, *MASONRY[2:5])),
        dice.pick(("box", "box", "tipper")),
    )
    high, split = (dice.between(3.3, 3.8) if bed == "box" else 2.1), length - 2.3
    away = end.moved(long, 2.4)

    def side(t0: float, v0: float, t1: float, v1: float, color: Color, label: int | None = None) -> None:
        long.rect(*((t0, v0, t1, v1) if nose else (length - t1, v0, length - t0, v1)), color, label)

    def flank() -> None:
        side(0, 0.55, length - 0.3, 0.95, (48, 48, 52), TRUCK)
        side(0, 0.95, split, high, cargo, TRUCK)
        for k in range(1, 5):  # ribs, where a bus has windows
            side(split * k / 5, 1.0, split * k / 5 + 0.07, high, tuple(c * 4 // 5 for c in cargo), TRUCK)
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
            end.stroke(width / 2, 1.0, width / 2, high, 0.08, (60, 60, 62), TRUCK)
            end.rect(0.06, high - 0.1, width - 0.06, high, (90, 90, 92), TRUCK)
        for u in (0.1, width - 0.5):
            end.rect(u, 0.62, u + 0.4, 0.84, (244, 240, 214) if nose == 0 else (200, 24, 24))

    _box(long, end, flank, face)


def train(long: Panel, end: Panel, dice: Dice, length: float, width: float, nose: int) -> None:
    """Draw a tram: the body of a bus, longer, on rails, with skirts instead of wheels and a pantograph.

    Args:
        long: The panel of its long side.
        end: The panel of its end.
        dice: The dice that choose its looks.
        length: Its length in meters.
        width: Its width in meters.
        nose: 1 if it faces +u of its long side, else 0.
    """
    paint, stripe = dice.color(LIVERY), dice.color(LIVERY)

    def flank() -> None:
        long.rect(0, 0.2, length, 3.3, paint, TRAIN)
        long.rect(0.4, 3.3, length - 0.4, 3.6, (110, 112, 116), TRAIN)
        long.rect(0, 0.2, length, 0.7, stripe, TRAIN)
        long.rect(0.3, 1.3, length - 0.3, 2.5, GLASS)
        for k in range(3):
            u = length * (0.12 + 0.33 * k)
            long.rect(u, 0.35, u + 1.4, 2.6, stripe)
            long.rect(u + 0.2, 1.1, u + 1.2, 2.4, (70, 82, 92))
            long.rect(u + length * 0.15, 0.25, u + length * 0.17, 3.2, (48, 48, 50), TRAIN)
        long.stroke(length * 0.3, 3.6, length * 0.36, 4.4, 0.1, (60, 60, 64), TRAIN)
        long.stroke(length * 0.36, 4.4, length * 0.3, 5.0, 0.1, (60, 60, 64), TRAIN)

    def face() -> None:
        end.rect(0.3, 3.3, width - 0.3, 3.6, (110, 112, 116), TRAIN)
        end.rect(0, 0.2, width, 3.3, paint, TRAIN)
        end.polygon(
            ((0.2, 1.2), (0.2, 2.2), (0.4, 2.9), (width - 0.4, 2.9), (width - 0.2, 2.2), (width - 0.2, 1.2)),
            GLASS,
        )
        end.rect(0, 0.2, width, 0.7, stripe, TRAIN)
        for u in (0.2, width - 0.5):
            end.rect(u, 0.8, u + 0.3, 1.0, (244, 240, 214))
        end.rect(0.7, 2.95, width - 0.7, 3.2, (236, 150, 40))

    _box(long, end, flank, face)
