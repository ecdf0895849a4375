"""Which pixels the four ways of Table 7 select, and whether their pseudo-labels are right (Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from pgpc.classes import IGNORE_INDEX, ClassSet, colorize
from pgpc.contrast import reliable
from pgpc.figures.canvas import Panel, classes_in, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS: Mapping[str, tuple[Literal["entropy", "confidence"], Literal["image", "class"]]] = MappingProxyType(
    {
        "global entropy": ("entropy", "image"),
        "global confidence": ("confidence", "image"),
        "class-wise entropy": ("entropy", "class"),
        "class-wise confidence": ("confidence", "class"),
    }
)
"""Table 7: by what pixels are ranked, and among which others."""

_FADED = 0.75  # how far the gray of pixels that are not selected is moved towards white
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@torch.no_grad()
def selected(logits: Tensor, share: float) -> dict[str, np.ndarray]:
    """The pixels of one image that each way selects.

    Args:
        logits: ``(1, C, h, w)``.
        share: eta, of the image's pixels, or of those of each predicted class; in (0, 1].

    Returns:
        ``(h, w)`` bool for each of :data:`WAYS`.

    Raises:
        ValueError: `share` is outside its range.
    """
    return {name: reliable(logits, share, by=by, per=per)[0].cpu().numpy() for name, (by, per) in WAYS.items()}


def paint(photo: np.ndarray, ids: np.ndarray, shown: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Some pixels in the colors of their classes, the others as a faded gray photo.

    Args:
        photo: ``(h, w, 3)`` uint8 RGB.
        ids: ``(h, w)`` train ids.
        shown: ``(h, w)`` bool, the pixels in color.
        classes: whose colors.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    faded = np.rint(photo @ _GRAY * (1 - _FADED) + 255 * _FADED).astype(np.uint8)
    return np.where(shown[..., None], colorize(ids, classes), faded[..., None])


def accuracy(ids: np.ndarray, label: np.ndarray, among: np.ndarray) -> float:
    """Percentage of right ids among the labeled of some pixels; NaN where none of them is labeled."""
    counted = among & (label != IGNORE_INDEX)
    return 100 * float((ids == label)[counted].mean()) if counted.any() else float("nan")


def selection_figure(
    photo: np.ndarray, logits: Tensor, label: np.ndarray | None, share: float, classes: ClassSet, *, of: str
) -> Figure:
    """The image and its prediction beside what each way selects.

    The figures under the ways' names are the share of selected pixels and, where there is a label, the accuracy of
    their pseudo-labels; then the label and the wrong pixels are shown too.

    Args:
        photo: ``(h, w, 3)`` uint8 RGB.
        logits: ``(1, C, h, w)``.
        label: ``(h, w)`` train ids, or None.
        share: eta, see :func:`selected`.
        classes: names and colors.
        of: whose prediction it is, "teacher" or "student".
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
