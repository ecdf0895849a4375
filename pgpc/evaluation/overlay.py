"""Segmentations to look at: the picture under the colors of its classes, and what the colors mean."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pgpc.classes import ClassSet, colorize

_OPACITY = 0.55
_BOUNDARY = 255
_PIXELS_PER_LINE = 1000  # length of the picture's longer side for which boundaries get one more pixel of width


def draw_overlay(image: np.ndarray, ids: np.ndarray, classes: ClassSet) -> Image.Image:
    """A picture under the colors of its classes, with a white line between them.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        ids: ``(H, W)`` uint8 train ids.
        classes: whose colors.
    """
    colored = Image.fromarray(colorize(ids, classes))
    blended = np.array(Image.blend(Image.fromarray(image), colored, _OPACITY))
    blended[_boundaries(ids, 1 + max(ids.shape) // _PIXELS_PER_LINE)] = _BOUNDARY
    return Image.fromarray(blended)


def _boundaries(ids: np.ndarray, width: int) -> np.ndarray:
    """``(H, W)`` bool: pixels at most `width` before one of another class, downwards or to the right."""
    edge = np.zeros(ids.shape, dtype=bool)
    for step in range(1, width + 1):
        edge[:-step] |= ids[:-step] != ids[step:]
        edge[:, :-step] |= ids[:, :-step] != ids[:, step:]
    return edge


def draw_legend(classes: ClassSet) -> Image.Image:
    """The color and the name of every class, one below the other."""
    size, gap = 20, 8
    font = ImageFont.load_default(size)
    row = size + gap
    width = max(round(font.getlength(name)) for name in classes.names) + 2 * size + 4 * gap
    legend = Image.new("RGB", (width, row * len(classes.names) + gap), "white")
    draw = ImageDraw.Draw(legend)
    for k, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        top = gap + k * row
        draw.rectangle((gap, top, gap + 2 * size, top + size - 1), fill=color, outline="black")
        draw.text((2 * size + 3 * gap, top + size // 2), name, fill="black", font=font, anchor="lm")
    return legend
