"""A network's calibration as a picture: how many pixels are right, by how sure the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pgpc.evaluation.calibration import Calibration
from pgpc.figures.canvas import COLUMN, POINTS, add_legend, empty_figure, write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 1.25  # of the width
_LEFT, _BREADTH = 0.14, 0.82
_RIGHT, _SHARE = "#3b6ea5", "#8a8a8a"
_GAP: dict[str, Any] = {"facecolor": "none", "edgecolor": "#d97f6b", "hatch": "/////", "linewidth": 0.6}


def draw_reliability(calibration: Calibration, title: str) -> Figure:
    """Draw a reliability diagram, and below it how the pixels are spread over the bins.

    Above, a bar reaches to the share of a bin's pixels that are right, and a second one, hatched, from there to their
    mean confidence: along the diagonal there is none. Below, a bar is the share of all pixels that lie in the bin.

    Args:
        calibration: The counts; bins without pixels are left empty.
        title: What was measured.
    """
    from matplotlib.patches import Patch

    figure = empty_figure(COLUMN, COLUMN * _HEIGHT, dpi=300)
    above = figure.add_axes((_LEFT, 0.39, _BREADTH, 0.53))
    below = figure.add_axes((_LEFT, 0.15, _BREADTH, 0.19), sharex=above)
    pixels, accuracy, confidence = calibration.pixels, calibration.accuracy, calibration.confidence
    width = 1 / len(pixels)
    centers = (np.arange(len(pixels)) + 0.5) * width
    filled = pixels > 0
    above.bar(centers[filled], accuracy[filled], width * 0.92, color=_RIGHT)
    gap = (confidence - accuracy)[filled]
    above.bar(centers[filled], gap, width * 0.92, bottom=accuracy[filled], **_GAP)
    above.plot([0, 1], [0, 1], color="black", linewidth=0.7, linestyle="--")
    ece = calibration.ece
    above.set_ylabel("share that is right", fontsize=POINTS)
    above.set_ylim(0, 1)
    below.bar(centers, pixels / max(int(pixels.sum()), 1), width * 0.92, color=_SHARE)
    below.set_ylabel("share of pixels", fontsize=POINTS)
    below.set_xlabel("confidence: probability of the class that is found", fontsize=POINTS)
    for axes in (above, below):
        _plain(axes)
    above.tick_params(labelbottom=False)
    handles = [
        Patch(facecolor=_RIGHT, label="share that is right"),
        Patch(**_GAP, label="from there to the mean confidence"),
    ]
    add_legend(figure, handles, 2)
    write_title(above, f"{title}\n{'no labeled pixel' if np.isnan(ece) else f'ECE {ece:.2f} %'}", COLUMN * _BREADTH)
    return figure


def _plain(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.tick_params(labelsize=POINTS, width=0.5, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
