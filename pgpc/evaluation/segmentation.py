"""Scoring: segmenting an image, whole or in windows, and counting its pixels by label and prediction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, ClassSet
from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.scores import Metrics
from pgpc.models.hrda import HRDA
from pgpc.runtime import distributed

WHOLE = EvaluationConfig()
"""Images are segmented as a whole."""


@torch.inference_mode()
def predict(model: nn.Module, image: Tensor, size: tuple[int, int], *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Segment one image, as a whole or in windows.

    Logits are brought to the size of the image, or of its windows, and then to the size of the result.

    Args:
        model: images to logits at stride 4, a :class:`pgpc.models.segmenter.Segmenter`; its ``align_corners`` tells how
            logits are resized.
        image: ``(1, 3, h, w)`` normalized, on the model's device.
        size: height and width of the result.
        evaluation: whether there are windows, and which.

    Returns:
        ``(height, width)`` int64 train ids.
    """
    return most_probable(logits(model, image, evaluation=evaluation), size, model.align_corners)[0]


@torch.inference_mode()
def logits(model: nn.Module, image: Tensor, *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Logits of one image ``(1, 3, h, w)``, as a whole or in windows, at its own size: ``(1, C, h, w)`` float32."""
    if evaluation.window is None:
        return _logits(model, image)
    return _logits_of_windows(model, image, evaluation.window, evaluation.window_stride, evaluation.window_batch)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along a dimension of `length` pixels.

    Windows lie `stride` pixels apart until the end is reached; the last is moved inwards to end there. A dimension that
    is no longer than the window has one, at 0.
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def most_probable(logits: Tensor, size: tuple[int, int], align_corners: bool) -> tuple[Tensor, Tensor]:
    """The class with the highest logit, the first of equals, and that logit.

    Args:
        logits: ``(1, C, h, w)``.
        size: height and width of the result.
        align_corners: how logits are resized.

    Returns:
        ``(height, width)`` int64 train ids and ``(height, width)`` logits.
    """
    highest = winner = None
    for k, resized in enumerate(class_planes(logits, size, align_corners)):
        if highest is None:
            highest, winner = resized.clone(), torch.zeros(size, dtype=torch.long, device=logits.device)
        else:
            winner.masked_fill_(resized > highest, k)
            torch.maximum(highest, resized, out=highest)
    return winner, highest


def class_planes(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Iterator[Tensor]:
    """Logits ``(1, C, h, w)`` at another size, ``(height, width)`` of one class after the other.

    All classes at once may not fit into memory: of a photograph of 12 megapixels 19 take 900 MB.
    """
    for plane in logits.contiguous().split(1, dim=1):
        if plane.shape[2:] != size:
            plane = F.interpolate(plane, size, mode="bilinear", align_corners=align_corners)
        yield plane[0, 0]


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """The model's logits at the size of the images, float32."""
    segment = getattr(model, "segment", model)  # of a Segmenter: not yet resized, see DeepLabV2
    return _resized(segment(images), images.shape[2:], model.align_corners)


def _resized(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners)


def _logits_of_windows(model: nn.Module, image: Tensor, window: int, stride: int, batch: int) -> Tensor:
    """``(1, C, h, w)``: at each pixel the mean of the logits of the windows that show it."""
    height, width = image.shape[2:]
    corners = [*itertools.product(window_starts(height, window, stride), window_starts(width, window, stride))]
    size = min(window, height), min(window, width)
    total, count, known = None, image.new_zeros(height, width, dtype=torch.float32), {}
    for first in range(0, len(corners), batch):
        chunk = corners[first : first + batch]
        places = [(..., slice(top, top + size[0]), slice(left, left + size[1])) for top, left in chunk]
        if isinstance(model, HRDA):  # whose windows have crops in common
            parts = _resized(model.segment_windows(image, chunk, size, known), size, model.align_corners)
        else:
            parts = _logits(model, torch.cat([image[place] for place in places]))
        if total is None:
            total = parts.new_zeros(1, parts.shape[1], height, width)
        for place, part in zip(places, parts, strict=True):
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

    With several processes each gives its own share of the samples, which may be none, and all get the score of the
    whole. Counts are whole numbers and sum to the same in any order. Memory does not grow with the number of samples.

    Args:
        model: images ``(B, 3, h, w)`` to logits ``(B, C, h/4, w/4)``, as :func:`predict` takes it; its mode is restored
            afterwards.
        samples: (image ``(1, 3, h, w)``, label ``(H, W)`` of train ids, name), one at a time.
        classes: the C classes of the labels.
        evaluation: whether images are segmented in windows, and which.

    Raises:
        ValueError: a label or a prediction is none of the classes.
    """
    device, num_classes = next(model.parameters()).device, len(classes.names)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    was_training = model.training
    model.eval()
    try:
        for image, label, name in samples:
            predicted = predict(model, image.to(device), label.shape, evaluation=evaluation)
            confusion += _count(torch.from_numpy(label).to(device).long(), predicted, num_classes, name)
    finally:
        model.train(was_training)
    return Metrics(distributed.all_reduce_sum(confusion).cpu().numpy(), classes)


def _count(label: Tensor, predicted: Tensor, num_classes: int, name: str) -> Tensor:
    """``(C, C)`` pixels of one image by label and prediction, without those that are ignored."""
    # 256 columns, since anything else would count ids that are none of the classes in place of others.
    counts = torch.bincount((label * 256 + predicted).flatten(), minlength=256 * 256).view(256, -1)
    counts[IGNORE_INDEX] = 0
    inside = counts[:num_classes, :num_classes].clone()
    if inside.sum() != counts.sum():
        raise ValueError(
            f"Labels and predictions must be ids below the number of classes ({num_classes}), but those of {name!r} "
            "have others. Give the classes that both model and labels have."
        )
    return inside
