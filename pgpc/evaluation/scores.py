"""Scores from a confusion matrix: IoU and accuracy per class, and their means over the published sets of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pgpc.classes import CITYSCAPES, SYNTHIA_13, SYNTHIA_16, ClassSet
from pgpc.evaluation.names import CLASS_PREFIX


def over_classes(scores: Iterable[str], total: int | None = None) -> str:
    """Return over how many classes the mean IoU of an evaluation is, as text: those that are labeled or predicted.

    Args:
        scores: Names of the scores, as :meth:`Metrics.as_dict` has them.
        total: Number of all classes; None where it is not known.
    """
    number = sum(name.startswith(CLASS_PREFIX) for name in scores)
    if total is None:
        return f"over {number} classes"
    return f"over all {total} classes" if number == total else f"over {number} of {total} classes"


@dataclass(frozen=True)
class Metrics:
    """The score of a set of images.

    Pixels without a label (``IGNORE_INDEX``) are not counted, whatever is predicted there.

    Attributes:
        confusion: Number of pixels by label (row) and prediction (column), summed over all images: ``(C, C)``, int64.
        classes: The C classes.
    """

    confusion: np.ndarray
    classes: ClassSet = CITYSCAPES

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union in percent, ``(C,)``; NaN for a class in neither labels nor predictions."""
        return _percent(self._correct, self.confusion.sum(0) + self.confusion.sum(1) - self._correct)

    @property
    def miou(self) -> float:
        """Mean IoU in percent over the classes that have one; NaN if none has."""
        return self.miou_of(range(len(self.classes.names)))

    @property
    def accuracy(self) -> np.ndarray:
        """Share of a class's labeled pixels that are predicted as it, in percent, ``(C,)``; NaN where it has none."""
        return _percent(self._correct, self.pixels)

    @property
    def pixel_accuracy(self) -> float:
        """Share of all labeled pixels that are predicted right, in percent; NaN if there are none."""
        return float(_percent(self._correct.sum(), self.confusion.sum()))

    @property
    def pixels(self) -> np.ndarray:
        """Number of labeled pixels of each class, ``(C,)`` int64."""
        return np.asarray(self.confusion.sum(1))

    def miou_of(self, ids: Sequence[int]) -> float:
        """Compute the mean IoU over those of some classes that have one.

        Args:
            ids: Train ids of the classes.

        Returns:
            A number in percent; NaN if none of the classes has an IoU.
        """
        iou = self.iou[list(ids)]
        scored = iou[~np.isnan(iou)]
        return float(scored.mean()) if len(scored) else float("nan")

    @property
    def means(self) -> dict[str, float]:
        """Every mean IoU that is published for these classes, in percent.

        "mIoU" is over all of them. For the 19 of Cityscapes there are two more, by which adaptation from SYNTHIA, a
        source without terrain, truck and train, is scored: "mIoU16" leaves these out, and "mIoU13" also wall, fence and
        pole. Both are means of the same IoU: predictions may be any of the 19, and no label is ignored for them, so
        that a truck taken for a car counts against car (DAFormer, Hoyer et al., CVPR 2022, and those built on it).
        """
        means = {"mIoU": self.miou}
        if self.classes.names == CITYSCAPES.names:
            means |= {"mIoU16": self.miou_of(SYNTHIA_16), "mIoU13": self.miou_of(SYNTHIA_13)}
        return means

    def as_dict(self) -> dict[str, float]:
        """Return :attr:`means` and ``"IoU/road": .., ...`` in percent; classes without a score are left out."""
        named = zip(self.classes.names, self.iou, strict=True)
        scores = {f"{CLASS_PREFIX}{name}": float(iou) for name, iou in named if not np.isnan(iou)}
        return {**self.means, **scores}

    @property
    def _correct(self) -> np.ndarray:
        return np.diag(self.confusion)


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(100 * np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
