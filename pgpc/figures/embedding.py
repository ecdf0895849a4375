"""The pixels of each class in a network's feature space, laid out in the plane (Fig. 5 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pgpc.classes import ClassSet
from pgpc.figures.canvas import (
    COLUMN,
    PAGE,
    add_legend,
    empty_figure,
    fitting_columns,
    legend_height,
    name_of,
    rgb,
    title_height,
    write_title,
)
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = "os^Dv"  # classes that follow one another, whose colors are often alike, have different ones
_PERPLEXITY = 30.0
_GAP = 0.08  # inches


def _tsne(features: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    return np.asarray(TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features))


def _pca(features: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    return np.asarray(PCA(2, random_state=seed).fit_transform(features))


METHODS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = MappingProxyType({"tsne": _tsne, "pca": _pca})
"""Ways of laying features out in the plane: t-SNE (van der Maaten and Hinton, JMLR 2008), and PCA."""


def to_plane(features: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Lay features out in the plane.

    Args:
        features: Features ``(P, D)`` of P pixels.
        method: One of :data:`METHODS`.
        seed: Seed of all that is random in the method.

    Returns:
        ``(P, 2)``.

    Raises:
        ValueError: There are too few pixels for neighborhoods to mean anything, or no such method.
    """
    check(method in METHODS, f"method must be one of {', '.join(METHODS)}", method)
    num = len(features)
    check(num >= 10, "an embedding needs at least 10 labeled pixels", num, "Take more images, or another split.")
    return METHODS[method](features, seed)


def embedding_figure(
    planes: Sequence[np.ndarray], titles: Sequence[str], labels: np.ndarray, classes: ClassSet
) -> Figure:
    """Draw the same pixels in the spaces of several networks, side by side, in the colors of their classes.

    Args:
        planes: Places ``(P, 2)`` of the pixels for each network.
        titles: Titles of the networks, as many lines each.
        labels: Train ids ``(P,)`` of the pixels.
        classes: The classes, whose names and colors are taken.
    """
    from matplotlib.lines import Line2D

    width = COLUMN if len(planes) == 1 else PAGE
    side = (width - _GAP * len(planes)) / len(planes)
    ids = np.unique(labels).tolist()
    columns = fitting_columns(ids, classes, width)
    above = title_height(titles)
    below = legend_height(len(ids), columns) + _GAP
    height = side + above + below
    figure = empty_figure(width, height, dpi=300)
    area = 2.2 * side  # square points: pixels of a small panel are small too
    for i, (plane, title) in enumerate(zip(planes, titles, strict=True)):
        axes = figure.add_axes(((i * (side + _GAP) + _GAP / 2) / width, below / height, side / width, side / height))
        for k in ids:
            x, y = plane[labels == k].T
            axes.scatter(x, y, s=area, color=[rgb(k, classes)], marker=_marker(k), linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(linewidth=0.5, color="0.5")
        write_title(axes, title, side)
    handles = [
        Line2D([], [], linestyle="", marker=_marker(k), markersize=4, color=rgb(k, classes), label=name_of(k, classes))
        for k in ids
    ]
    add_legend(figure, handles, columns)
    return figure


def _marker(k: int) -> str:
    return _MARKERS[k % len(_MARKERS)]
