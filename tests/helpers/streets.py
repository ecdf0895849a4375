"""Single things of the street scenes, drawn on an empty canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from pgpc.data.streets.canvas import Camera, Canvas, Panel
from pgpc.data.streets.palette import Dice

Draw = Callable[[Canvas, Dice], None]
_NOTHING = 254


def boxed(draw: Callable[..., None], **extra: object) -> Draw:
    """The vehicle beside the camera's axis, seen from the end and from the side."""

    def both(canvas: Canvas, dice: Dice) -> None:
        nose, across = dice.count(1), dice.chance(0.5)
        flank, face = Panel(canvas, 1.0, 12, 0, 1), Panel(canvas, 1.0, 12)
        long, end = (face, flank) if across else (flank, face)
        draw(long, end, dice, nose=nose, **extra)

    return both


def upright(draw: Callable[[Panel, Dice], None]) -> Draw:
    """A thing on one panel, turned a little."""
    return lambda canvas, dice: draw(Panel(canvas, 0.5, 12, 0.8, 0.6), dice)


def empty_canvas() -> Canvas:
    """A canvas without a street."""
    canvas = Canvas(Camera(280.0, 60.0, 70.0, 1.4), 128, 256, ((200, 200, 200), 300.0))
    ImageDraw.Draw(canvas.image).rectangle((0, 0, 256, 128), fill=(255, 0, 255))
    canvas.labels.paste(_NOTHING, (0, 0, 256, 128))
    return canvas


def check_labels(draw: Draw) -> set[int]:
    """Assert for several seeds that the painted pixels are the labeled ones; the ids of these."""
    found: set[int] = set()
    for seed in range(12):
        canvas = empty_canvas()
        draw(canvas, Dice(np.random.default_rng(seed)))
        painted = (np.array(canvas.image) != (255, 0, 255)).any(axis=2)
        labels = np.array(canvas.labels)
        assert painted.any()
        different = np.sum(painted != (labels != _NOTHING))
        assert not different, f"seed {seed}: {different} pixels differ"
        found |= set(np.unique(labels[painted]).tolist())
    return found
