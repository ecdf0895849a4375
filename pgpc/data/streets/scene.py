"""Composition of the street scenes: the things along a straight street, and their places.

The axes are those of the canvas: meters, x to the right of the camera, y up, z forward. Things are
drawn far to near (painter's algorithm).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pgpc.classes import IGNORE_INDEX
from pgpc.data.streets.canvas import CIRCLE, NEAREST, Camera, Canvas, Panel
from pgpc.data.streets.palette import (
    BUILDING,
    FOLIAGE,
    MASONRY,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    VEGETATION,
    Dice,
)
from pgpc.data.streets.styles import StreetStyle
from pgpc.data.streets.surroundings import (
    building,
    bush,
    clutter,
    fence,
    lamp_post,
    sign,
    traffic_light,
    tree,
    wall,
)
from pgpc.data.streets.traffic import CAR_BODIES, bicycle, bus, car, motorcycle, person, rider, train, truck


class _Street:
    """One scene in the making: the places of all things, then one pass from far to near.

    Args:
        style: The layout statistics of the domain.
        rng: The generator that all random choices come from.
        height: The height of the image in pixels.
        width: Its width in pixels.
    """

    def __init__(self, style: StreetStyle, rng: np.random.Generator, height: int, width: int) -> None:
        self.style, self.dice = style, Dice(rng)
        dice = self.dice
        self.zenith = dice.color(style.sky, 10)
        self.pale = tuple((c + 2 * p) // 3 for c, p in zip(self.zenith, (232, 234, 232), strict=True))
        camera = Camera(
            dice.between(*style.focal) * width,
            dice.between(0.38, 0.62) * width,
            dice.between(*style.horizon) * height,
            dice.between(*style.camera_height),
        )
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
        """Return the brightness of a wall that looks left (-1), right (1) or at the camera (0)."""
        return 1.0 if facing == 0 else 1 + 0.3 * self.sun * (1 if facing == self.sun_side else -1.6)

    def stand(self, x: float, z: float, draw: Callable[[Panel], None], turn: bool = False) -> None:
        """Queue a flat object.

        Args:
            x: Its place, in meters to the right of the camera.
            z: Its distance in meters.
            draw: The function that draws it on a panel.
            turn: True if it may look any way along the street, False if it faces the camera.
        """
        dx, dz = self.dice.pick(((1.0, 0.0), (0.8, 0.6), (0.6, 0.8))) if turn else (1.0, 0.0)
        flip = self.dice.pick((-1, 1)) if turn else 1
        panel = Panel(
            self.canvas,
            x,
            z,
            dx * flip,
            dz,
            self.light(0) if self.sun < 0.2 else self.dice.between(0.85, 1.1),
        )
        self.things.append((z, lambda: draw(panel)))

    def shadow(self, x0: float, x1: float, z0: float, z1: float) -> None:
        """Queue the shade under an object that covers x0..x1 and z0..z1 in meters, to be painted just before it."""
        alpha = int(90 + 90 * self.sun)
        stretch = -self.sun_side * 1.2 * self.sun
        x0, x1 = x0 + min(stretch, 0), x1 + max(stretch, 0)
        z0 = max(z0, NEAREST)
        self.things.append((z1 + 0.01, lambda: self.canvas.ground(x0, x1, z0, z1, (14, 16, 22, alpha))))

    def vehicle(
        self, draw: Callable[[Panel, Panel], None], x: float, z: float, length: float, width: float, across: bool
    ) -> None:
        """Queue a box-shaped vehicle.

        Args:
            draw: The function that draws it on the panels of its long side and its end.
            x: The place of its center, in meters to the right of the camera.
            z: The distance of its near end in meters.
            length: Its length in meters.
            width: Its width in meters.
            across: True if it stands across the street, False if along it.
        """
        along_x, along_z = (length, width) if across else (width, length)
        near = x - along_x / 2 if x > 0 else x + along_x / 2
        outward = 1 if x > 0 else -1
        facing = Panel(self.canvas, near, z, outward, 0, self.light(0))
        flank = Panel(self.canvas, near, z, 0, 1, self.light(-outward))
        long, end = (facing, flank) if across else (flank, facing)
        self.shadow(x - along_x / 2, x + along_x / 2, z - 0.1, z + along_z)
        self.things.append((z, lambda: draw(long, end)))

    def car(self, x: float, z: float, nose: int, across: bool = False) -> float:
        """Queue a car of any shape, and return its length in meters; see `vehicle` and `traffic.car`."""
        shape = self.dice.pick(CAR_BODIES)
        self.vehicle(lambda long, end: car(long, end, self.dice, shape, nose), x, z, shape[0], shape[1], across)
        return shape[0]

    # The steps, in painting order

    def sky(self) -> None:
        """Paint the sky, paler towards the horizon, and clouds."""
        canvas, dice, bottom = self.canvas, self.dice, int(self.canvas.camera.y) + 2
        for k in range(12):
            y0, y1 = bottom * k // 12, bottom * (k + 1) // 12
            color = tuple((c * (12 - k) + p * k) // 12 for c, p in zip(self.zenith, self.pale, strict=True))
            canvas.polygon([(0, y0), (self.width, y0), (self.width, y1), (0, y1)], color, SKY)
        for _ in range(dice.count(5)):
            x, y = dice.between(0, self.width), dice.between(0, bottom)
            for _ in range(4):
                r = dice.between(0.02, 0.07) * self.width
                x += dice.between(-1.2, 1.2) * r
                canvas.polygon(
                    [(int(x + 1.8 * r * c), int(y + 0.5 * r * s)) for c, s in CIRCLE], (*self.pale, 120), SKY
                )

    def distance(self) -> None:
        """Paint what closes the view: a row of hazy houses and trees, with gaps."""
        dice, x = self.dice, -120.0
        while x < 120:
            wide = dice.between(10, 26)
            panel = Panel(self.canvas, x, 130)
            if dice.chance(0.45):
                panel.rect(0, 0, wide, dice.between(7, 9 + 3 * self.style.storeys[1]), dice.color(MASONRY), BUILDING)
            elif dice.chance(0.8):
                for k in range(3):
                    panel.disc(wide * k / 3, 3, wide * dice.between(0.25, 0.4), dice.color(FOLIAGE), VEGETATION)
            x += wide

    def pavement(self) -> None:
        """Paint the ground: grass, sidewalks, the road with its markings, and the side street."""
        canvas, dice, style = self.canvas, self.dice, self.style
        asphalt = dice.color(((98, 98, 100), (84, 84, 88), (112, 108, 104)), 12)
        slabs = dice.color(((148, 142, 134), (128, 124, 120), (160, 148, 136)), 12)
        grass = ((92, 122, 52), (110, 130, 66), (142, 128, 84), (84, 108, 56))
        canvas.ground(-300, 300, NEAREST, 400, dice.color(grass), TERRAIN)
        left, right = self.kerb[-1], self.kerb[1]
        for side in (-1, 1):
            x0, x1 = self.kerb[side], self.front[side]
            canvas.ground(x0, x1 + side * 2.5, NEAREST, 200, slabs, SIDEWALK)
            for k in range(4, 40, 2):
                canvas.ground(x0, x1, k, k + 0.07, (60, 58, 56, 90))
            if dice.chance(style.verge):
                canvas.ground(
                    x0 + side * 0.3, x0 + (x1 - x0) * dice.between(0.3, 0.55), NEAREST, 200, dice.color(grass), TERRAIN
                )
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
        center = dice.pick(((228, 226, 218), (226, 226, 222), (214, 178, 60)))
        for lane in range(1, lanes):
            x = left + (right - left) * lane / lanes
            solid = lanes > 2 and lane == lanes // 2
            for k in range(3, 70, 6):
                canvas.ground(x - 0.08, x + 0.08, k, k + (6 if solid else 2.6), center if solid else (224, 224, 218))

    def rows(self) -> None:
        """Paint houses, parks, walls and fences on both sides, each row from far to near."""
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
                        self.canvas.ground(
                            x, x - side * 6 * self.sun * 2, z, z + length, (16, 18, 30, int(130 * self.sun))
                        )
                    floors = max(1, round(storeys + dice.between(-1.5, 1.5)))
                    setback = facade.moved(across, dice.between(1.5, 4)) if walled else facade
                    building(setback, across._replace(x=setback.x), dice, length, floors)
                else:
                    self.canvas.ground(
                        x, x + side * 40, z, z + length, dice.color(((92, 122, 52), (118, 124, 70))), TERRAIN
                    )
                    for k in range(3):
                        place = Panel(
                            self.canvas,
                            x + side * dice.between(2, 14),
                            z + length * (3 - k) / 3,
                            1,
                            0,
                            self.light(0),
                        )
                        if dice.chance(0.6):
                            tree(place, dice, dice.chance(style.palms))
                        else:
                            bush(place, dice, dice.between(0.8, 2))
                if walled:
                    (wall if enclosure == 2 else fence)(facade, dice, length)

    def furniture(self) -> None:
        """Queue lamps, signs, clutter, trees and traffic lights along both sides."""
        dice, style = self.dice, self.style
        for side in (-1, 1):
            edge, z = self.kerb[side] + side * 0.5, dice.between(6, 12)
            while z < 70:
                if dice.chance(style.furniture):
                    self.stand(edge, z, partial(lamp_post, dice=dice, towards=-side))
                if dice.chance(style.furniture):
                    self.stand(edge, z + 3, lambda p: sign(p, dice))
                if dice.chance(style.furniture * 0.6):
                    self.stand(self.front[side] - side * 0.5, z + dice.between(0, 6), lambda p: clutter(p, dice))
                if dice.chance(style.trees):
                    palm = dice.chance(style.palms)
                    x = edge + side * 0.6
                    self.shadow(x - 1.5, x + 1.5, z + 6 - 1, z + 6 + 1)
                    self.stand(x, z + 6, partial(tree, dice=dice, palm=palm))
                z += dice.between(9, 15)
            if dice.chance(0.85 if self.crossing < 100 else 0.2):
                arm = -side * dice.between(2.5, 4.5) if dice.chance(0.4) else 0.0
                self.stand(edge, min(self.crossing - 1.5, 22), partial(traffic_light, dice=dice, arm=arm))

    def traffic(self) -> None:
        """Queue tram, bus and truck, parked cars and moving ones."""
        dice, style = self.dice, self.style
        left, right = self.kerb[-1], self.kerb[1]
        _, _, truck_chance, bus_chance, train_chance = style.rare
        tram = dice.chance(train_chance)
        z_free = {-1: 0.0, 1: 0.0}  # up to where a large vehicle occupies each direction
        for draw, chance, length, wide in (
            (train, 1.0 if tram else 0.0, dice.between(18, 28), 2.5),
            (bus, bus_chance, dice.between(8, 13), 2.5),
            (truck, truck_chance, dice.between(6.5, 11), 2.4),
        ):
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
                on_crossing = self.crossing - 7 < z < self.crossing + self.side_street + 1
                blocked = on_crossing or z < z_free[side]
                if not blocked and dice.chance(style.parked):
                    z += self.car(self.kerb[side] - side * 1.2, z, dice.count(1))
                z += dice.between(1, 5)
        for _ in range(dice.count(style.cars)):
            side = dice.pick((-1, 1))
            z = max(dice.between(9, 45), z_free[side])
            self.car(
                dice.between(left + 3.6, -1.4) if side == -1 else dice.between(-0.4, max(right - 3.4, 0.2)),
                z,
                1 if side == 1 else 0,
            )
        if self.crossing < 30 and dice.chance(0.35):
            self.car(dice.between(-7, 7), self.crossing + dice.between(1, 4), dice.count(1), across=True)

    def people(self) -> None:
        """Queue groups of people, parked bicycles, a rider and a motorcycle."""
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

            def ride(panel: Panel) -> None:
                (motorcycle if motor else bicycle)(panel, dice)
                rider(panel, dice, 0.86 if motor else 0.95)

            self.shadow(x - 0.5, x + 0.5, z - 0.3, z + 0.3)
            self.stand(x, z, ride, turn=True)
        if parked:
            side, z = dice.pick((-1, 1)), dice.between(6.5, 13)
            x = self.kerb[side] + side * dice.between(-0.6, 0.8)
            self.shadow(x - 0.6, x + 0.6, z - 0.3, z + 0.3)
            self.stand(x, z, lambda p: motorcycle(p, dice), turn=True)

    def hood(self) -> None:
        """Paint the bonnet of the car that carries the camera, whose pixels are ignored."""
        if self.style.hood:
            w, h, rise = self.width, self.height, self.style.hood
            points = [(0, h), (0, round(h * (1 - rise / 2)))]
            points += [
                (round(w * f), round(h * (1 - rise * k))) for f, k in ((0.2, 0.9), (0.5, 1), (0.8, 0.9), (1, 0.5))
            ]
            self.canvas.polygon([*points, (w, h)], (40, 44, 46), IGNORE_INDEX)


def compose(style: StreetStyle, rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one street in flat colors, before any camera.

    Args:
        style: The layout statistics of the domain.
        rng: The generator that all random choices come from.
        height: The height of the image in pixels.
        width: Its width in pixels.

    Returns:
        The image ``(height, width, 3)`` uint8 RGB and train ids ``(height, width)`` uint8.
    """
    street = _Street(style, rng, height, width)
    for step in (
        street.sky,
        street.distance,
        street.pavement,
        street.rows,
        street.furniture,
        street.traffic,
        street.people,
    ):
        step()
    # Equal depths keep their order, so that the picture depends on the dice alone.
    for _, draw in sorted(street.things, key=lambda thing: -thing[0]):
        draw()
    street.hood()
    return np.array(street.canvas.image), np.array(street.canvas.labels)
