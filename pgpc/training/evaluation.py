"""Scoring: confusion matrix, IoU per class, mean IoU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc import distributed
from pgpc.classes import CLASS_NAMES, IGNORE_INDEX


@dataclass(frozen=True)
class Metrics:
    """The score of a set of images.

    Attributes:
        confusion: ``(C, C)`` int64, pixels by label (row) and prediction (column), summed over all images.
    """

    confusion: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """``(C,)`` intersection over union in percent; NaN for a class in neither labels nor predictions."""
        intersection = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - intersection
        return 100 * np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)

    @property
    def miou(self) -> float:
        """Mean IoU in percent over the classes that have one."""
        return float(np.nanmean(self.iou))

    def as_dict(self) -> dict[str, float]:
        """``{"mIoU": .., "IoU/road": .., ...}`` in percent; classes without a score are left out."""
        names = CLASS_NAMES if len(CLASS_NAMES) == len(self.iou) else [str(c) for c in range(len(self.iou))]
        scores = {f"IoU/{name}": float(iou) for name, iou in zip(names, self.iou) if not np.isnan(iou)}
        return {"mIoU": self.miou, **scores}


@torch.inference_mode()
def predict(model: nn.Module, image: Tensor, size: tuple[int, int]) -> Tensor:
    """Segment one image as a whole.

    Args:
        model: images to logits at stride 4.
        image: ``(1, 3, h, w)`` normalised, on the model's device.
        size: height and width of the result: logits are brought to the input's size, then to this.

    Returns:
        ``(height, width)`` int64 train ids.
    """
    logits = F.interpolate(model(image).float(), image.shape[2:], mode="bilinear", align_corners=False)
    if logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits[0].argmax(dim=0)


@torch.inference_mode()
def evaluate(model: nn.Module, samples: Iterable[tuple[Tensor, np.ndarray, str]], num_classes: int = 19) -> Metrics:
    """Score a model in evaluation mode, at the native size of the labels.

    With several processes each gives its own share of the samples, and all get the score of the whole.

    Args:
        model: images ``(1, 3, h, w)`` to logits ``(1, C, h/4, w/4)``; its mode is restored afterwards.
        samples: (image ``(1, 3, h, w)``, label ``(H, W)`` of train ids, name), one at a time.
        num_classes: C.
    """
    device = next(model.parameters()).device
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    was_training = model.training
    model.eval()
    try:
        for image, label, _ in samples:
            predicted = predict(model, image.to(device), label.shape)
            confusion += _count(torch.from_numpy(label).to(device).long(), predicted, num_classes)
    finally:
        model.train(was_training)
    return Metrics(distributed.all_reduce_sum(confusion).cpu().numpy())


def _count(label: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    counted = label != IGNORE_INDEX
    pairs = torch.where(counted, label * num_classes + predicted, num_classes**2)  # ignored pixels fall off the end
    return torch.bincount(pairs.flatten(), minlength=num_classes**2 + 1)[:-1].view(num_classes, num_classes)
