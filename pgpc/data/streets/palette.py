"""Train ids and colors of the street scenes, and the dice that choose among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from pgpc.classes import CLASS_NAMES

Color = tuple[int, ...]
T = TypeVar("T")

(
    ROAD,
    SIDEWALK,
    BUILDING,
    WALL,
    FENCE,
    POLE,
    LIGHT,
    SIGN,
    VEGETATION,
    TERRAIN,
    SKY,
    PERSON,
    RIDER,
    CAR,
    TRUCK,
    BUS,
    TRAIN,
    MOTORCYCLE,
    BICYCLE,
) = range(len(CLASS_NAMES))

MASONRY: tuple[Color, ...] = (
    (150, 82, 62),
    (176, 104, 76),
    (206, 186, 150),
    (222, 210, 186),
    (168, 160, 148),
    (132, 128, 124),
    (214, 178, 112),
    (196, 150, 132),
    (232, 230, 222),
    (120, 96, 84),
)
CLADDING: tuple[Color, ...] = ((96, 128, 148), (70, 92, 110), (130, 156, 164), (86, 84, 92))
PAINT: tuple[Color, ...] = (
    (232, 232, 230),
    (24, 24, 28),
    (150, 154, 158),
    (92, 96, 102),
    (164, 28, 30),
    (30, 62, 130),
    (40, 88, 62),
    (206, 170, 40),
    (190, 178, 152),
    (96, 24, 40),
    (70, 130, 180),
)
LIVERY: tuple[Color, ...] = (
    (226, 224, 218),
    (196, 44, 36),
    (224, 178, 40),
    (44, 92, 158),
    (60, 130, 80),
    (160, 160, 164),
)
CLOTH: tuple[Color, ...] = (
    (36, 40, 56),
    (70, 72, 78),
    (180, 40, 44),
    (52, 86, 150),
    (214, 208, 196),
    (60, 104, 64),
    (222, 186, 60),
    (120, 70, 120),
    (130, 96, 66),
    (26, 26, 28),
    (226, 120, 60),
)
SKIN: tuple[Color, ...] = ((236, 196, 166), (206, 156, 122), (150, 104, 76), (98, 66, 50))
FOLIAGE: tuple[Color, ...] = ((58, 104, 38), (78, 122, 46), (44, 84, 44), (104, 130, 52), (70, 96, 60))
GLASS: Color = (44, 54, 64)
RUBBER: Color = (26, 26, 28)
STEEL: Color = (104, 106, 108)


class Dice:
    """Random choices built on `Generator.random` alone: the same on all machines (no fused multiply-add).

    Args:
        rng: The generator that the choices come from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._random = rng.random

    def between(self, low: float, high: float) -> float:
        """Draw a number uniformly between two."""
        return low + (high - low) * self._random()

    def count(self, most: int) -> int:
        """Draw a whole number uniformly from 0 to `most`, both included."""
        return int(self._random() * (most + 1))

    def chance(self, probability: float) -> bool:
        """Draw True with this probability."""
        return self._random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """Draw one of the options uniformly."""
        return options[int(self._random() * len(options))]

    def color(self, options: Sequence[Color], spread: float = 14) -> Color:
        """Draw one of the colors, and move it a little, each channel by itself and all together."""
        shift = self.between(-spread, spread)
        return tuple(int(min(max(c + shift + self.between(-spread, spread) / 2, 0), 255)) for c in self.pick(options))
