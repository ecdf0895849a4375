"""Labels that are pictures of colors, in which each class has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgpc.classes import IGNORE_INDEX

Color = tuple[int, int, int]
"""Red, green and blue, each 0..255."""


@dataclass(frozen=True, eq=False)
class LabelColors:
    """The train ids of colors.

    Attributes:
        codes: ``(K,)`` int64, the colors that are listed, ascending, see :func:`color_codes`.
        train_ids: ``(K,)`` uint8, the train id of each, ``IGNORE_INDEX`` for those of no class.
        ignores_rest: True where all other colors are ignored, rather than a sign of a wrong file.
        conflict: What keeps the colors from saying the class, as a sentence; "" where nothing does.
    """

    codes: np.ndarray
    train_ids: np.ndarray
    ignores_rest: bool
    conflict: str = ""

    def is_listed(self, codes: np.ndarray) -> np.ndarray:
        """Tell which pixels have a color that is listed, as bool of the shape of `codes`."""
        return np.asarray(self.codes[self._places(codes)] == codes)

    def translate(self, codes: np.ndarray) -> np.ndarray:
        """Return the train ids of pixels, uint8 of the shape of `codes`; ``IGNORE_INDEX`` for colors not listed."""
        listed = self.train_ids[self._places(codes)]
        return np.asarray(np.where(self.is_listed(codes), listed, np.uint8(IGNORE_INDEX)))

    def _places(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1))


def label_colors(
    listed: Mapping[int, Color], ignored: Sequence[Color], names: Sequence[str], *, ignores_rest: bool
) -> LabelColors:
    """Return the train ids of the colors of some classes.

    Args:
        listed: The color of each class, by train id; at least one.
        ignored: The colors of no class.
        names: The names of all classes, for messages.
        ignores_rest: Whether all other colors are ignored.
    """
    owners: dict[Color, tuple[int, str]] = {}
    conflict = ""
    for color, train_id, owner in [
        *((color, k, f"class {names[k]!r}") for k, color in listed.items()),
        *((color, IGNORE_INDEX, '"ignore"') for color in ignored),
    ]:
        _, other = owners.setdefault(color, (train_id, owner))
        if other != owner:
            conflict = f"The color {list(color)} is listed by {other} and by {owner}. Give each its own."
    codes = color_codes(np.array(list(owners), dtype=np.uint8))
    order = np.argsort(codes)
    train_ids = np.array([train_id for train_id, _ in owners.values()], dtype=np.uint8)
    return LabelColors(codes[order], train_ids[order], ignores_rest, conflict)


def color_codes(pixels: np.ndarray) -> np.ndarray:
    """Return one number per color, red * 65536 + green * 256 + blue: ``(..., 3)`` uint8 to ``(...)`` int64."""
    wide = pixels.astype(np.int64)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def color_of(code: int) -> str:
    """Return a color as text, from its number."""
    return f"[{code >> 16}, {code >> 8 & 255}, {code & 255}]"
