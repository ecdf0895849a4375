"""Features of pixels: which pixels are drawn, and where a network has them in its feature spaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pgpc.evaluation.names import Space
from pgpc.models.daformer import DAFormerHead
from pgpc.models.hrda import HRDAHead
from pgpc.models.student import ForwardRequest, Student
from pgpc.runtime.checks import check
from pgpc.runtime.precision import at_least_float32


class Pixels(NamedTuple):
    """Pixels of several images, image by image; all fields are ``(P,)`` integers.

    Attributes:
        image: Number of the image.
        row: Row in the image's label.
        column: Column in the image's label.
        label: Train id.
    """

    image: np.ndarray
    row: np.ndarray
    column: np.ndarray
    label: np.ndarray

    def of_image(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of the pixels of the i-th image."""
        mine = self.image == i
        return self.row[mine], self.column[mine]


def draw_pixels(labels: Sequence[np.ndarray], num_classes: int, per_class: int, rng: np.random.Generator) -> Pixels:
    """Draw equally many pixels of every class, all that there are of a class with fewer.

    Pixels are drawn uniformly without replacement among those that a class has in all images together.

    Args:
        labels: Train ids ``(H, W)`` of each image; sizes may differ. Ignored pixels are not drawn.
        num_classes: C, the number of classes.
        per_class: Number of pixels of each class.
        rng: Generator of the draw; nothing else is random.
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
    """Say in words what a feature space of a network is."""
    if space == "projection":
        return "projection head"
    return "decoder" if isinstance(student.segmenter.decode_head, (DAFormerHead, HRDAHead)) else "encoder, last stage"


@torch.inference_mode()
def feature_map(student: Student, image: Tensor, space: Space) -> Tensor:
    """Compute the features of one image, as a whole.

    Args:
        student: A network in evaluation mode.
        image: One normalized image ``(1, 3, h, w)``, on the student's device.
        space: "projection" for the unit vectors that are contrasted, or "decoder" for what the classifier reads: of
            DAFormer's decoder the fused features (of HRDA those of the context), of DeepLabV2 the encoder's last map.

    Returns:
        ``(1, D, h', w')``, at least float32.

    Raises:
        ValueError: There is no projection head.
    """
    if space == "projection":
        check(
            student.projection is not None,
            "--features projection needs a network with a projection head",
            "one without",
            "Networks that are trained without contrast and exports have none: take decoder.",
        )
        (output,) = student(ForwardRequest(image, decode=False, project=True))
        return student.unit_vectors(output.require_hidden().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    with student.in_precision(image.device):
        features = student.segmenter.encode(image)
        head = student.segmenter.decode_head
        head = head.head if isinstance(head, HRDAHead) else head
        if not isinstance(head, DAFormerHead):
            return at_least_float32(features[-1])
        fused: list[Tensor] = []

        def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            fused.append(output)

        hook = head.fuse_layer.register_forward_hook(keep)
        try:
            head(features)
        finally:
            hook.remove()
        return at_least_float32(fused[0])


def features_at(map_: Tensor, row: np.ndarray, column: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Read the features of the cells in which pixels lie.

    Args:
        map_: Feature map ``(1, D, h, w)`` of the image.
        row: Rows ``(P,)`` of the pixels.
        column: Columns ``(P,)`` of the pixels.
        size: Height and width of the image that rows and columns are counted in.

    Returns:
        ``(P, D)``, of the map's type.
    """
    cells: np.ndarray = map_[0].permute(1, 2, 0).cpu().numpy()
    found: np.ndarray = cells[row * cells.shape[0] // size[0], column * cells.shape[1] // size[1]]
    return found
