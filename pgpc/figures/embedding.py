"""The pixels of each class in a network's feature space, laid out in the plane (Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

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
from pgpc.models.daformer import DAFormerHead
from pgpc.models.hrda import HRDAHead
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pgpc.models.student import Student

Space = Literal["projection", "decoder"]

_MARKERS = "os^Dv"  # classes that follow one another, whose colors are often alike, have different ones
_PERPLEXITY = 30.0
_GAP = 0.08  # inches


class Pixels(NamedTuple):
    """Pixels of several images, image by image; all ``(P,)`` integers.

    Attributes:
        image: number of the image.
        row: of its label.
        column: of its label.
        label: train id.
    """

    image: np.ndarray
    row: np.ndarray
    column: np.ndarray
    label: np.ndarray

    def of_image(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels of the i-th image."""
        mine = self.image == i
        return self.row[mine], self.column[mine]


def draw_pixels(labels: Sequence[np.ndarray], num_classes: int, per_class: int, rng: np.random.Generator) -> Pixels:
    """Draw equally many pixels of every class, all that there are of a class with fewer.

    Uniform without replacement among the pixels that a class has in all images together.

    Args:
        labels: ``(H, W)`` train ids of each image; sizes may differ. Ignored pixels are not drawn.
        num_classes: C.
        per_class: number of pixels.
        rng: nothing else is random.
    """
    counts = np.stack([np.bincount(label.ravel(), minlength=256)[:num_classes] for label in labels])
    ends = counts.cumsum(axis=0)
    parts = [np.zeros((4, 0), dtype=np.int64)]
    for k, total in enumerate(ends[-1]):
        drawn = np.sort(rng.choice(total, min(per_class, total), replace=False))
        image = np.searchsorted(ends[:, k], drawn, side="right")
        for i in np.unique(image):
            nth = drawn[image == i] - (ends[i, k] - counts[i, k])
            row, column = np.unravel_index(np.flatnonzero(labels[i] == k)[nth], labels[i].shape)
            parts.append(np.stack([np.full_like(row, i), row, column, np.full_like(row, k)]))
    drawn = np.concatenate(parts, axis=1)
    return Pixels(*drawn[:, np.argsort(drawn[0], kind="stable")])


def describe(student: Student, space: Space) -> str:
    """What a feature space is, in words."""
    if space == "projection":
        return "projection head"
    return "decoder" if isinstance(student.segmenter.decode_head, (DAFormerHead, HRDAHead)) else "encoder, last stage"


@torch.inference_mode()
def feature_map(student: Student, image: Tensor, space: Space) -> Tensor:
    """The features of one image, as a whole.

    Args:
        student: in evaluation mode.
        image: ``(1, 3, h, w)`` normalized, on the student's device.
        space: "projection", the unit vectors that are contrasted, or "decoder", what the classifier reads: of
            DAFormer's decoder the fused features (of HRDA those of the context), of DeepLabV2 the encoder's last map.

    Returns:
        ``(1, D, h', w')`` float32.

    Raises:
        ValueError: there is no projection head.
    """
    if space == "projection":
        check(
            student.projection is not None,
            "--features projection needs a network with a projection head",
            "one without",
            "Networks that are trained without contrast and exports have none: take decoder.",
        )
        from pgpc.models.student import View  # not above: trainings draw pictures, so they import this module

        (output,) = student(View(image, decode=False, project=True))
        return student.unit_vectors(output.hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    with student.autocast(image.device):
        features = student.segmenter.encode(image)
        head = student.segmenter.decode_head
        head = head.head if isinstance(head, HRDAHead) else head
        if not isinstance(head, DAFormerHead):
            return features[-1].float()
        fused = []
        hook = head.fuse_layer.register_forward_hook(lambda module, args, output: fused.append(output))
        try:
            head(features)
        finally:
            hook.remove()
        return fused[0].float()


def features_at(map_: Tensor, row: np.ndarray, column: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The features of the cells in which pixels lie.

    Args:
        map_: ``(1, D, h, w)`` of the image.
        row: ``(P,)`` of the pixels.
        column: ``(P,)`` of the pixels.
        size: height and width of the image that rows and columns are counted in.

    Returns:
        ``(P, D)`` float32.
    """
    cells = map_[0].permute(1, 2, 0).cpu().numpy()
    return cells[row * cells.shape[0] // size[0], column * cells.shape[1] // size[1]]


def to_plane(features: np.ndarray, method: Literal["tsne", "pca"], seed: int) -> np.ndarray:
    """Lay features ``(P, D)`` out in the plane, ``(P, 2)``: by t-SNE (van der Maaten and Hinton, JMLR 2008), or PCA.

    Raises:
        ValueError: there are too few pixels for neighborhoods to mean anything.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    num = len(features)
    check(num >= 10, "an embedding needs at least 10 labeled pixels", num, "Take more images, or another split.")
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(features)
    perplexity = min(_PERPLEXITY, (num - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def embedding_figure(
    planes: Sequence[np.ndarray], titles: Sequence[str], labels: np.ndarray, classes: ClassSet
) -> Figure:
    """The same pixels in the spaces of several networks, side by side, in the colors of their classes.

    Args:
        planes: ``(P, 2)`` of each network.
        titles: of the networks, as many lines each.
        labels: ``(P,)`` train ids.
        classes: names and colors.
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
            axes.scatter(*plane[labels == k].T, s=area, color=[rgb(k, classes)], marker=_marker(k), linewidths=0)
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
