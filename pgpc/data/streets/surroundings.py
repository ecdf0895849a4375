"""Things beside the road in the street scenes: plants, furniture, buildings, walls and fences.

Each is drawn on the panels that it is given, on the ground. As in Cityscapes, the holes of a fence belong to
the fence.
"""

from __future__ import annotations

from pgpc.classes import IGNORE_INDEX
from pgpc.data.streets.canvas import CIRCLE, Panel
from pgpc.data.streets.palette import (
    BUILDING,
    CLADDING,
    CLOTH,
    FENCE,
    FOLIAGE,
    GLASS,
    LIGHT,
    MASONRY,
    POLE,
    SIGN,
    STEEL,
    VEGETATION,
    WALL,
    Color,
    Dice,
)


def tree(panel: Panel, dice: Dice, palm: bool) -> None:
    """Draw a tree with leaves all around, or a palm."""
    high, green = dice.between(5, 9), dice.color(FOLIAGE, 18)
    bark = dice.color(((92, 74, 56), (70, 62, 54)))
    if palm:
        panel.stroke(0, 0, 0.3, high, 0.35, (150, 122, 92), VEGETATION)
        for c, s in CIRCLE:
            reach = dice.between(1.3, 2.1)
            panel.polygon(
                (
                    (0.3, high),
                    (0.3 + c * reach * 0.6, high + s * reach * 0.7 + 0.35),
                    (0.3 + c * reach, high + s * reach - 0.5),
                ),
                green,
                VEGETATION,
            )
        return
    panel.stroke(0, 0, dice.between(-0.3, 0.3), high * 0.6, dice.between(0.25, 0.45), bark, VEGETATION)
    wide = dice.between(1.2, 2.6)
    for k in range(9):  # lower clumps first and darker: light comes from above
        v = high * (0.45 + 0.055 * k)
        spread = wide * (1.1 - 0.07 * k)
        tone = tuple(int(c * (0.62 + 0.07 * k)) for c in green)
        panel.disc(
            dice.between(-spread, spread),
            v,
            dice.between(0.6, 1.1) * wide * 0.6,
            tone,
            VEGETATION,
            dice.between(0.7, 1),
        )


def bush(panel: Panel, dice: Dice, high: float) -> None:
    """Draw a bush `high` meters tall."""
    green = dice.color(FOLIAGE, 18)
    for k in range(4):
        panel.disc(
            dice.between(-1, 1) * high,
            high * 0.35,
            high * dice.between(0.4, 0.65),
            tuple(int(c * (0.75 + 0.12 * k)) for c in green),
            VEGETATION,
        )


def sign(panel: Panel, dice: Dice) -> None:
    """Draw one of six kinds of traffic signs on a post."""
    high, r = dice.between(2.2, 3.0), dice.between(0.34, 0.5)
    panel.stroke(0, 0, 0, high, 0.09, dice.color((STEEL, (150, 150, 150))), POLE)
    kind = dice.count(5)
    if kind == 0:  # prohibition
        panel.disc(0, high, r, (206, 30, 30), SIGN)
        panel.disc(0, high, r * 0.66, (240, 238, 232))
    elif kind == 1:  # warning or give way
        up = dice.pick((-1, 1))
        for k, color in ((1.0, (206, 30, 30)), (0.6, (240, 236, 220))):
            panel.polygon(
                ((-r * k, high - r * k * up * 0.8), (r * k, high - r * k * up * 0.8), (0, high + r * k * up)),
                color,
                SIGN,
            )
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
    """Draw lamps on a post, and on an arm over the road when `arm` (meters, signed) is not zero."""
    case, lit = dice.color(((28, 30, 30), (34, 40, 36), (186, 150, 40))), dice.count(2)
    high = 5.2 if arm else 3.1
    panel.stroke(0, 0, 0, high, 0.16, STEEL, POLE)
    if arm:
        panel.stroke(0, high, arm, high, 0.13, STEEL, POLE)
    for u, v in ((0.0, 2.2), (arm, 4.5)) if arm else ((0.0, 2.2),):
        panel.rect(u - 0.22, v, u + 0.22, v + 1.1, case, LIGHT)
        for k, color in enumerate(((40, 220, 110), (250, 180, 40), (244, 40, 36))):
            panel.disc(u, v + 0.2 + 0.34 * k, 0.16, color if k == lit else (52, 50, 48), LIGHT)


def lamp_post(panel: Panel, dice: Dice, towards: float) -> None:
    """Draw a street lamp whose arm, if it has one, points to the left (-1) or the right (1)."""
    high, color = dice.between(5, 8), dice.color((STEEL, (62, 70, 66), (140, 128, 110)))
    panel.stroke(0, 0, 0, high, 0.17, color, POLE)
    if dice.chance(0.7):
        panel.stroke(0, high, 1.5 * towards, high + 0.3, 0.12, color, POLE)
        panel.stroke(1.1 * towards, high + 0.22, 1.7 * towards, high + 0.3, 0.2, (200, 200, 190), POLE)


def clutter(panel: Panel, dice: Dice) -> None:
    """Draw a bin, a box or a hydrant, which belong to none of the 19 classes."""
    high = dice.between(0.6, 1.2)
    panel.rect(
        -0.3,
        0,
        0.3,
        high,
        dice.color(((60, 84, 66), (70, 74, 80), (180, 60, 40), (200, 170, 60))),
        IGNORE_INDEX,
    )
    panel.rect(-0.34, high, 0.34, high + 0.1, (44, 46, 48), IGNORE_INDEX)


def building(facade: Panel, gable: Panel, dice: Dice, length: float, storeys: int) -> None:
    """Draw a house.

    Args:
        facade: The panel of its front along the street.
        gable: The panel of its side wall, which the next house may hide.
        dice: The dice that choose its looks.
        length: The length of the front in meters.
        storeys: The number of its floors, at least 1.
    """
    kind = dice.pick(("plaster", "plaster", "brick", "glass"))
    base, floor = dice.between(3.4, 4.2), dice.between(2.9, 3.4)
    high = base + floor * (storeys - 1) + 0.5
    color = dice.color(CLADDING if kind == "glass" else MASONRY, 16)
    trim = tuple(min(int(c * 1.22), 255) for c in color)
    pane = dice.color((GLASS, (70, 84, 96), (96, 104, 108), (40, 40, 44)), 10)
    gable.rect(0, 0, 30, high, color, BUILDING)
    if kind != "glass" and storeys < 6 and dice.chance(0.5):
        _roof(facade, gable, dice, length, high, color)
    facade.rect(0, 0, length, high, color, BUILDING)
    columns = max(2, round(length / dice.between(2.2, 3.6)))
    pitch, wide = length / columns, dice.between(0.42, 0.62)
    tall = floor * dice.between(0.45, 0.65)
    far = facade.scale() < 3  # windows would be smaller than a pixel or two
    rows = [] if far else [base + floor * k + 0.5 for k in range(storeys - 1)]
    for front, reach in ((facade, columns), (gable, 3)):
        for v in rows:
            if kind == "glass":
                front.rect(0.2, v - 0.3, pitch * reach - 0.2, v + tall, pane)
                continue
            for j in range(reach):
                u = pitch * (j + (1 - wide) / 2)
                front.rect(u, v, u + pitch * wide, v + tall, pane)
                front.rect(u, v - 0.22, u + pitch * wide, v, trim)
    if kind == "brick" and not far:
        for k in range(2, int(high)):
            facade.stroke(0, k, length, k, 0.08, tuple(c * 9 // 10 for c in color), BUILDING)
    elif kind == "glass":
        for j in range(1, columns):
            facade.stroke(pitch * j, base, pitch * j, high, 0.12, trim, BUILDING)
    facade.rect(0, base - 0.4, length, base - 0.1, trim, BUILDING)
    _ground_floor(facade, dice, length, columns, pane)


def _roof(facade: Panel, gable: Panel, dice: Dice, length: float, high: float, color: Color) -> None:
    """Draw a pitched roof, and the part of the side wall below it."""
    roof = dice.color(((120, 62, 48), (86, 80, 82), (140, 84, 60)))
    gable.polygon(((0, high), (4, high + 2.6), (8, high)), color, BUILDING)
    ridge = facade.moved(gable, 2.0)
    facade.canvas.polygon(
        [*facade.points(((0, high), (length, high))), *ridge.points(((length, high + 2.0), (0, high + 2.0)))],
        facade.canvas.lit(roof, facade.light, facade.z),
        BUILDING,
    )


def _ground_floor(facade: Panel, dice: Dice, length: float, columns: int, pane: Color) -> None:
    """Draw a door among windows, or among shop windows below an awning."""
    pitch, shop = length / columns, dice.chance(0.5)
    for j in range(columns):
        u = pitch * j
        if j == columns // 2:
            facade.rect(u + 0.4, 0, u + 1.5, 2.3, dice.color(((70, 46, 34), (40, 60, 50), (50, 50, 56))), BUILDING)
        else:
            facade.rect(u + 0.3, 0.4 if shop else 1.1, u + pitch - 0.3, 2.6, pane)
    if shop:
        facade.rect(0.2, 2.6, length - 0.2, 3.2, dice.color(CLOTH))


def wall(panel: Panel, dice: Dice, length: float) -> None:
    """Draw free-standing masonry: in the colors of buildings, but low and blind."""
    high, color = dice.between(1.5, 2.8), dice.color(MASONRY)
    panel.rect(0, 0, length, high, color, WALL)
    for k in range(1, int(high / 0.5)):
        panel.stroke(0, k * 0.5, length, k * 0.5, 0.06, tuple(c * 4 // 5 for c in color))
    panel.rect(0, high - 0.2, length, high, tuple(min(int(c * 1.2), 255) for c in color))


def fence(panel: Panel, dice: Dice, length: float) -> None:
    """Draw railings, pickets or a guard rail; what shows through the holes is labeled fence too."""
    high, color = dice.between(1.1, 2.2), dice.color((*MASONRY[2:6], (50, 60, 54), (40, 40, 44), STEEL))
    points = panel.points(((0, 0), (0, high), (length, high), (length, 0)))
    panel.canvas.polygon(points, (*color, 70), FENCE)
    for v in (high * 0.2, high * 0.95):
        panel.stroke(0, v, length, v, 0.1, color, FENCE)
    step = dice.pick((0.35, 0.6, 1.2))
    for k in range(int(length / step) + 1):
        panel.stroke(k * step, 0, k * step, high, step * 0.25, color, FENCE)
