"""A diagnosis as one picture: classes side by side, from what is predicted to what the memory bank holds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pgpc.diagnosis.figures import Diagnosis
from pgpc.figures.canvas import PAGE, POINTS, add_legend, empty_figure, write_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#3b6ea5", "#d97f6b", "#8a8a8a")
_LEFT, _BREADTH = 0.09, 0.89
_FLOOR = 0.01
"""Smallest share in percent that is drawn, since the axis is logarithmic."""


def diagnosis_figure(found: Diagnosis) -> Figure:
    """Draw the classes that the teacher predicts, the anchors, and the memory bank.

    What needs labels or a contrast is left out where there is none.

    Args:
        found: The figures.
    """
    judged = found.classes[0].labeled is not None
    panels = 1 if found.bank_size is None else 3
    figure = empty_figure(PAGE, 1.0 + 1.35 * panels, dpi=300)
    bottom, height = 0.85 / (1.0 + 1.35 * panels), 1.0 / (1.0 + 1.35 * panels)
    names = [of_class.name for of_class in found.classes]
    axes = [
        figure.add_axes((_LEFT, bottom + (panels - 1 - i) * 1.35 * height, _BREADTH, height)) for i in range(panels)
    ]
    shares = {"predicted": [f.predicted for f in found.classes]}
    if judged:
        shares["labeled"] = [f.labeled or 0.0 for f in found.classes]
    _bars(axes[0], shares, "% of pixels", log=True)
    axes[0].axhline(found.least_share, color="black", linewidth=0.6, linestyle="--")
    write_title(axes[0], _title(found), PAGE * _BREADTH)
    if found.bank_size is not None:
        total = max(sum(f.anchors or 0 for f in found.classes), 1)
        anchors = {"anchors": [100 * (f.anchors or 0) / total for f in found.classes]}
        if judged:
            anchors["right anchors"] = [(f.purity or 0.0) * (f.anchors or 0) / total for f in found.classes]
        _bars(axes[1], anchors, "% of anchors", log=True)
        banks = list(found.classes[0].rows)
        fill = {
            f"rows: {name.replace('_', ' ')}": [100 * f.rows[name] / found.bank_size for f in found.classes]
            for name in banks
        }
        _bars(axes[2], fill, "% of the bank", log=False)
    for above in axes[:-1]:
        above.set_xticklabels([])
    axes[-1].set_xticklabels(names, rotation=40, ha="right", fontsize=POINTS)
    handles: list[Any] = [handle for axis in axes for handle in axis.get_legend_handles_labels()[0]]
    add_legend(figure, handles, len(handles))
    return figure


def _bars(axes: Axes, values: Mapping[str, Sequence[float]], label: str, *, log: bool) -> None:
    """Draw bars of one or several kinds beside each other, one group a class."""
    width = 0.8 / len(values)
    for i, (name, numbers) in enumerate(values.items()):
        places = np.arange(len(numbers)) + (i - (len(values) - 1) / 2) * width
        axes.bar(places, numbers, width, color=_COLORS[i], label=name)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(_FLOOR, 100)
    else:
        axes.set_ylim(0, 100)
    axes.set_xlim(-0.6, len(next(iter(values.values()))) - 0.4)
    axes.set_xticks(range(len(next(iter(values.values())))))
    axes.set_ylabel(label, fontsize=POINTS)
    axes.tick_params(labelsize=POINTS, width=0.5, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _title(found: Diagnosis) -> str:
    parts = [f"{len(found.predicted)} of {len(found.classes)} classes are predicted", f"q {found.q:.3f}"]
    if found.gradients is not None:
        parts.append(f"contrast {statistics.mean(found.gradients.share):.1f} % of the gradients' norms")
        if found.gradients.cosine is not None:
            parts.append(f"cosine with the labels' gradient {statistics.mean(found.gradients.cosine):+.2f}")
    return f"Iteration {found.iteration}: {', '.join(parts)}"
