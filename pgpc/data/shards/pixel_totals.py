"""Mean and standard deviation of the bands of many images, from exact sums over all of their pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelTotals:
    """Sums over the pixels of images, in whole numbers, so that no order of adding changes them.

    Attributes:
        count: Number of pixels.
        sums: Sum of the values of each band; empty where nothing was counted.
        squares: Sum of their squares.
    """

    count: int = 0
    sums: tuple[int, ...] = ()
    squares: tuple[int, ...] = ()

    def __add__(self, other: PixelTotals) -> PixelTotals:
        if not self.sums or not other.sums:
            return self if self.sums else other
        return PixelTotals(
            count=self.count + other.count,
            sums=tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            squares=tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean of each band, in the units of the files."""
        return tuple(total / self.count for total in self.sums)

    @property
    def std(self) -> tuple[float, ...]:
        """The standard deviation of each band over all pixels; 1 for a band that is constant."""
        spread = (
            math.sqrt(squares * self.count - total * total) / self.count
            for total, squares in zip(self.sums, self.squares, strict=True)
        )
        return tuple(value or 1.0 for value in spread)

    @property
    def constant(self) -> tuple[int, ...]:
        """Numbers of the bands, from 0 on, that have one value throughout."""
        bands = enumerate(zip(self.sums, self.squares, strict=True))
        return tuple(k for k, (total, squares) in bands if squares * self.count == total * total)

    @classmethod
    def of(cls, pixels: np.ndarray) -> PixelTotals:
        """Return the sums of an image ``(H, W, bands)``, uint8 or uint16."""
        bands = [pixels[..., k].astype(np.uint64) for k in range(pixels.shape[2])]
        return cls(
            count=pixels.shape[0] * pixels.shape[1],
            sums=tuple(int(band.sum()) for band in bands),
            squares=tuple(int((band * band).sum()) for band in bands),
        )

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> PixelTotals:
        """Return the sums that a JSON object describes.

        Raises:
            ValueError: A value is no number, or there are not as many sums of one kind as of the other.
            KeyError: A value is missing.
            TypeError: A value is of another type.
        """
        found = cls(count=entry["count"], sums=tuple(entry["sums"]), squares=tuple(entry["squares"]))
        numbers = (found.count, *found.sums, *found.squares)
        if not all(type(number) is int and number >= 0 for number in numbers) or len(found.sums) != len(found.squares):
            raise ValueError("its sums of pixels are none")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the sums as a JSON object, with what follows from them for whoever reads it."""
        return {
            "count": self.count,
            "sums": list(self.sums),
            "squares": list(self.squares),
            "mean": list(self.mean),
            "std": list(self.std),
        }
