"""A figure of the pixels that the four ways of Table 7 select, and of whether they are right (Fig. 6 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pgpc.classes import IGNORE_INDEX, ClassSet, colorize
from pgpc.evaluation.overlay import paint
from pgpc.evaluation.selected_pixels import accuracy, selected
from pgpc.figures.canvas import Panel, classes_in, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def selection_figure(
    photo: np.ndarray, logits: Tensor, label: np.ndarray | None, share: float, classes: ClassSet, *, of: str
) -> Figure:
    """Draw an image and its prediction beside what each way selects.

    The numbers under the ways' names are the share of selected pixels and, where there is a label, the accuracy of
    their pseudo-labels; then the label and the wrong pixels are shown too.

    Args:
        photo: Picture ``(h, w, 3)``, uint8 RGB.
        logits: Logits ``(1, C, h, w)`` of the network that selects.
        label: Train ids ``(h, w)``, or None.
        share: eta, see :func:`pgpc.evaluation.selected_pixels.selected`.
        classes: The classes, whose names and colors are taken.
        of: Whose prediction it is, "teacher" or "student".
    """
    ids = logits[0].argmax(dim=0).cpu().numpy().astype(np.uint8)
    everywhere = np.ones(ids.shape, dtype=bool)

    def figures(mask: np.ndarray) -> str:
        text = f"{100 * mask.mean():.1f} % of pixels"
        return text if label is None else f"{text}, {accuracy(ids, label, mask):.1f} % right"

    ways = [
        Panel(paint(photo, ids, mask, classes), f"{name}\n{figures(mask)}")
        for name, mask in selected(logits, share).items()
    ]
    # Titles of two lines throughout, so that those of one row stand at one height.
    prediction = Panel(colorize(ids, classes), f"prediction of the {of}\n")
    left = [[Panel(photo, "image\n")], [prediction]]
    if label is not None:
        wrong = (ids != label) & (label != IGNORE_INDEX)
        prediction = prediction._replace(title=f"{prediction.title}{accuracy(ids, label, everywhere):.1f} % right")
        left = [
            [Panel(photo, "image\n"), prediction],
            [
                Panel(colorize(label, classes), "ground truth\n"),
                Panel(paint(photo, ids, wrong, classes), "prediction\nwhere it is wrong"),
            ],
        ]
    rows = [left[0] + ways[:2], left[1] + ways[2:]]
    return grid(rows, classes_in([ids] if label is None else [ids, label]), classes)
