"""Scoring: segmenting an image, whole or in windows; confusion matrix, IoU per class, mean IoU."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc import distributed
from pgpc.classes import CITYSCAPES, IGNORE_INDEX, ClassSet
from pgpc.data.config import EvaluationConfig

WHOLE = EvaluationConfig()
"""Images are segmented as a whole."""


@dataclass(frozen=True)
class Metrics:
    """The score of a set of images.

    Attributes:
        confusion: ``(C, C)`` int64, pixels by label (row) and prediction (column), summed over all images.
        classes: their names.
    """

    confusion: np.ndarray
    classes: ClassSet = CITYSCAPES

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
        named = zip(self.classes.names, self.iou, strict=True)
        scores = {f"IoU/{name}": float(iou) for name, iou in named if not np.isnan(iou)}
        return {"mIoU": self.miou, **scores}


@torch.inference_mode()
def predict(model: nn.Module, image: Tensor, size: tuple[int, int], *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Segment one image, as a whole or in windows.

    Logits are brought to the size of the image, or of its windows, and then to the size of the result.

    Args:
        model: images to logits at stride 4, a :class:`pgpc.models.segmenter.Segmenter`; its ``align_corners`` tells how
            logits are resized.
        image: ``(1, 3, h, w)`` normalised, on the model's device.
        size: height and width of the result.
        evaluation: whether there are windows, and which.

    Returns:
        ``(height, width)`` int64 train ids.
    """
    if evaluation.window is None:
        logits = _logits(model, image)
    else:
        logits = _logits_of_windows(model, image, evaluation.window, evaluation.window_stride, evaluation.window_batch)
    if logits.shape[2:] != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=model.align_corners)
    return logits[0].argmax(dim=0)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along a dimension of `length` pixels.

    Windows lie `stride` pixels apart until the end is reached; the last is moved inwards to end there. A dimension that
    is no longer than the window has one, at 0.
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """The model's logits at the size of the images, float32."""
    return F.interpolate(model(images).float(), images.shape[2:], mode="bilinear", align_corners=model.align_corners)


def _logits_of_windows(model: nn.Module, image: Tensor, window: int, stride: int, batch: int) -> Tensor:
    """``(1, C, h, w)``: at each pixel the mean of the logits of the windows that show it."""
    height, width = image.shape[2:]
    corners = itertools.product(window_starts(height, window, stride), window_starts(width, window, stride))
    # Where the image is smaller than the window, slices end with the image.
    places = [(..., slice(top, top + window), slice(left, left + window)) for top, left in corners]
    total, count = None, image.new_zeros(height, width, dtype=torch.float32)
    for first in range(0, len(places), batch):
        chunk = places[first : first + batch]
        logits = _logits(model, torch.cat([image[place] for place in chunk]))
        if total is None:
            total = logits.new_zeros(1, logits.shape[1], height, width)
        for place, part in zip(chunk, logits, strict=True):
            total[place] += part
            count[place] += 1
    return total.div_(count)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    samples: Iterable[tuple[Tensor, np.ndarray, str]],
    classes: ClassSet = CITYSCAPES,
    *,
    evaluation: EvaluationConfig = WHOLE,
) -> Metrics:
    """Score a model in evaluation mode, at the native size of the labels.

    With several processes each gives its own share of the samples, and all get the score of the whole.

    Args:
        model: images ``(B, 3, h, w)`` to logits ``(B, C, h/4, w/4)``, as :func:`predict` takes it; its mode is restored
            afterwards.
        samples: (image ``(1, 3, h, w)``, label ``(H, W)`` of train ids, name), one at a time.
        classes: the C classes of the labels.
        evaluation: whether images are segmented in windows, and which.
    """
    device, num_classes = next(model.parameters()).device, len(classes.names)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    was_training = model.training
    model.eval()
    try:
        for image, label, _ in samples:
            predicted = predict(model, image.to(device), label.shape, evaluation=evaluation)
            confusion += _count(torch.from_numpy(label).to(device).long(), predicted, num_classes)
    finally:
        model.train(was_training)
    return Metrics(distributed.all_reduce_sum(confusion).cpu().numpy(), classes)


def _count(label: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    counted = label != IGNORE_INDEX
    pairs = torch.where(counted, label * num_classes + predicted, num_classes**2)  # ignored pixels fall off the end
    return torch.bincount(pairs.flatten(), minlength=num_classes**2 + 1)[:-1].view(num_classes, num_classes)
