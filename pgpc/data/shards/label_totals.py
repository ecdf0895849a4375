"""What the labels of many images hold together, beside the pixels of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTotals:
    """Numbers over all labels of a split, or of a part.

    Attributes:
        pixels: Number of pixels of the labels, ignored ones included.
        blank_images: Number of images whose label has no pixel of a class.
        turned_images: Number of labeled images that are shown otherwise than they are stored (EXIF orientation).
        rest: Number of pixels of each id or color that is ignored because "ignore" is "rest" and no class has it.
    """

    pixels: int = 0
    blank_images: int = 0
    turned_images: int = 0
    rest: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: LabelTotals) -> LabelTotals:
        return LabelTotals(
            pixels=self.pixels + other.pixels,
            blank_images=self.blank_images + other.blank_images,
            turned_images=self.turned_images + other.turned_images,
            rest=dict(Counter(self.rest) + Counter(other.rest)),
        )

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> LabelTotals:
        """Return the numbers that a JSON object describes.

        Raises:
            ValueError: A value is no number.
            KeyError: A value is missing.
            TypeError: A value is of another type.
        """
        found = cls(
            pixels=entry["pixels"],
            blank_images=entry["blank_images"],
            turned_images=entry["turned_images"],
            rest=dict(entry["rest"]),
        )
        numbers = (found.pixels, found.blank_images, found.turned_images, *found.rest.values())
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("its numbers of labels are none")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as a JSON object."""
        return {
            "pixels": self.pixels,
            "blank_images": self.blank_images,
            "turned_images": self.turned_images,
            "rest": dict(self.rest),
        }
