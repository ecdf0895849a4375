"""Scores from a confusion matrix: IoU, precision, recall and F1 per class, and their means."""

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
    def recall(self) -> np.ndarray:
        """Share of a class's labeled pixels that are predicted as it, in percent, ``(C,)``; NaN where it has none.

        Papers on segmentation also call it the accuracy of a class.
        """
        return _percent(self._correct, self.pixels)

    @property
    def precision(self) -> np.ndarray:
        """Share of the pixels predicted as a class that are labeled so, in percent, ``(C,)``; NaN where there are none.

        Pixels without a label are not counted.
        """
        return _percent(self._correct, self.confusion.sum(0))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall in percent, ``(C,)``: the Dice coefficient, 2 IoU / (1 + IoU).

        NaN for a class in neither labels nor predictions, as its IoU.
        """
        return _percent(2 * self._correct, self.confusion.sum(0) + self.pixels)

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
        return _mean(self.iou[list(ids)])

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

    @property
    def overall(self) -> dict[str, float]:
        """What sums all classes up beside the mean IoU, in percent; NaN where nothing is labeled.

        Means are over the classes that have an IoU. A class that is never predicted has no precision and counts as 0
        there, as it does in the other means; so does one that is never labeled, for the recall.
        """
        scored = ~np.isnan(self.iou)
        per_class = {"mean_precision": self.precision, "mean_recall": self.recall, "mean_F1": self.f1}
        means = {name: _mean(np.nan_to_num(values[scored])) for name, values in per_class.items()}
        return {"pixel_accuracy": self.pixel_accuracy, **means}

    def as_dict(self) -> dict[str, float]:
        """Return :attr:`means`, :attr:`overall` and ``"IoU/road": .., ...`` in percent; what has no score is left out.

        Only the mean IoU is there also where it is NaN. Precision, recall and F1 of single classes are for
        ``pgpc evaluate`` alone: F1 follows from the IoU, and curves of all would drown the others.
        """
        named = zip(self.classes.names, self.iou, strict=True)
        scores = {f"{CLASS_PREFIX}{name}": float(iou) for name, iou in named if not np.isnan(iou)}
        overall = {name: value for name, value in self.overall.items() if not np.isnan(value)}
        return {**self.means, **overall, **scores}

    @property
    def _correct(self) -> np.ndarray:
        return np.diag(self.confusion)


def _mean(scores: np.ndarray) -> float:
    """Return the mean of those that are not NaN; NaN if there are none."""
    scored = scores[~np.isnan(scores)]
    return float(scored.mean()) if len(scored) else float("nan")


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(100 * np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
