"""Segmenting an image with a network: as a whole or in windows, once or in several forms that are averaged."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.data.config import EvaluationConfig
from pgpc.models.hrda import HRDA
from pgpc.runtime.checks import check
from pgpc.runtime.precision import at_least_float32

WHOLE = EvaluationConfig()
"""The default: images are segmented as a whole."""


@torch.inference_mode()
def predict(model: nn.Module, image: Tensor, size: tuple[int, int], *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Segment one image as the configuration says.

    Logits are brought to the size of the image, or of its windows, and then to the size of the result.

    Args:
        model: A network that takes images to logits at stride 4, such as a
            :class:`pgpc.models.segmenter.Segmenter`; its ``align_corners`` tells how logits are resized.
        image: One normalized image ``(1, 3, h, w)``, on the model's device.
        size: Height and width of the result.
        evaluation: Whether there are windows, scales and a mirrored copy, and which.

    Returns:
        ``(height, width)`` int64 train ids.
    """
    return most_probable(logits(model, image, evaluation=evaluation), size, _align_corners(model))[0]


@torch.inference_mode()
def logits(model: nn.Module, image: Tensor, *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Compute the logits of one image as the configuration says, at its own size.

    With several scales or a mirrored copy (test-time augmentation) these are logarithms of the mean of the class
    probabilities, the softmax of which is that mean. Every form has the same weight.

    Args:
        model: A network as :func:`predict` takes it.
        image: One normalized image ``(1, 3, h, w)``, on the model's device.
        evaluation: Whether there are windows, scales and a mirrored copy, and which. Windows have the same side at
            every scale.

    Returns:
        ``(1, C, h, w)``, at least float32.

    Raises:
        ValueError: The network cannot take the image at one of the scales.
    """
    if not evaluation.augments:
        return plain_logits(model, image, evaluation=evaluation)
    size, align_corners = image.shape[2:], _align_corners(model)
    total: Tensor | None = None
    for scale in evaluation.scales:
        scaled = _scaled(image, scale, getattr(model, "shortest_side", 1))
        for mirrored in (False, True) if evaluation.flip else (False,):
            part = plain_logits(model, scaled.flip(3) if mirrored else scaled, evaluation=evaluation)
            part = _resized(part.flip(3) if mirrored else part, size, align_corners).softmax(dim=1)
            total = part if total is None else total.add_(part)
    assert total is not None, "there is at least one scale"
    # The smallest number keeps the logarithm finite where a probability is 0.
    forms = len(evaluation.scales) * (2 if evaluation.flip else 1)
    return total.div_(forms).clamp_(min=torch.finfo(total.dtype).tiny).log_()


@torch.inference_mode()
def plain_logits(model: nn.Module, image: Tensor, *, evaluation: EvaluationConfig = WHOLE) -> Tensor:
    """Compute the logits of one image as it is, as a whole or in windows, at its own size.

    Args:
        model: A network as :func:`predict` takes it.
        image: One normalized image ``(1, 3, h, w)``, on the model's device.
        evaluation: Whether there are windows, and which.

    Returns:
        ``(1, C, h, w)``, at least float32.
    """
    if evaluation.window is None:
        return _logits(model, image)
    return _logits_of_windows(model, image, evaluation.window, evaluation.window_stride, evaluation.window_batch)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return the first pixels of the windows along a dimension.

    Windows lie `stride` pixels apart until the end is reached; the last is moved inwards to end there. A dimension that
    is no longer than the window has one, at 0.

    Args:
        length: Number of pixels along the dimension.
        window: Number of pixels of a window.
        stride: Number of pixels from one window to the next.
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def most_probable(logits: Tensor, size: tuple[int, int], align_corners: bool) -> tuple[Tensor, Tensor]:
    """Find the class with the highest logit, the first of equals, and that logit.

    Args:
        logits: Logits ``(1, C, h, w)``.
        size: Height and width of the result.
        align_corners: How logits are resized.

    Returns:
        ``(height, width)`` int64 train ids and ``(height, width)`` logits.
    """
    planes = class_planes(logits, size, align_corners)
    highest, winner = next(planes).clone(), torch.zeros(size, dtype=torch.long, device=logits.device)
    for k, resized in enumerate(planes, start=1):
        winner.masked_fill_(resized > highest, k)
        torch.maximum(highest, resized, out=highest)
    return winner, highest


def class_and_probability(logits: Tensor, size: tuple[int, int], align_corners: bool) -> tuple[Tensor, Tensor]:
    """Find the class with the highest logit, the first of equals, and its probability.

    Args:
        logits: Logits ``(1, C, h, w)``.
        size: Height and width of the result.
        align_corners: How logits are resized.

    Returns:
        ``(height, width)`` int64 train ids and ``(height, width)`` probabilities, above 0 and at most 1.
    """
    ids, highest = most_probable(logits, size, align_corners)
    total = torch.zeros_like(highest)
    for plane in class_planes(logits, size, align_corners):
        total += torch.exp(plane - highest)
    return ids, 1 / total


def class_planes(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Iterator[Tensor]:
    """Bring logits to another size, one class after the other.

    All classes at once may not fit into memory: of a photograph of 12 megapixels 19 take 900 MB.

    Args:
        logits: Logits ``(1, C, h, w)``.
        size: Height and width of the result.
        align_corners: How logits are resized.

    Yields:
        The logits of one class, ``(height, width)``.
    """
    for plane in logits.contiguous().split(1, dim=1):
        if plane.shape[2:] != size:
            plane = F.interpolate(plane, size, mode="bilinear", align_corners=align_corners)
        yield plane[0, 0]


def _scaled(image: Tensor, scale: float, shortest_side: int) -> Tensor:
    """Return an image at a multiple of its size, which the network must be able to take."""
    if scale == 1:
        return image
    size = [int(side * scale + 0.5) for side in image.shape[2:]]
    check(
        min(size) >= shortest_side,
        f"evaluation.scales must leave at least {shortest_side} pixels of the sides {tuple(image.shape[2:])}",
        scale,
        "Leave out the smallest.",
    )
    # Averaging over pixels that fall together, which plain bilinear resizing would pass over.
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=scale < 1)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the model's logits at the size of the images."""
    segment: Callable[[Tensor], Tensor] = getattr(model, "segment", model)  # not yet resized, see DeepLabV2
    return _resized(segment(images), images.shape[2:], _align_corners(model))


def _resized(logits: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    return F.interpolate(at_least_float32(logits), tuple(size), mode="bilinear", align_corners=align_corners)


def _align_corners(model: nn.Module) -> bool:
    return bool(model.align_corners)


def _logits_of_windows(model: nn.Module, image: Tensor, window: int, stride: int, batch: int) -> Tensor:
    """Return ``(1, C, h, w)``: at each pixel the mean of the logits of the windows that show it."""
    height, width = image.shape[2:]
    corners = [*itertools.product(window_starts(height, window, stride), window_starts(width, window, stride))]
    size = min(window, height), min(window, width)
    total: Tensor | None = None
    count = image.new_zeros(height, width, dtype=torch.float32)
    known: dict[tuple[int, int], Tensor] = {}
    for first in range(0, len(corners), batch):
        chunk = corners[first : first + batch]
        places = [(..., slice(top, top + size[0]), slice(left, left + size[1])) for top, left in chunk]
        if isinstance(model, HRDA):  # whose windows have crops in common
            parts = _resized(model.segment_windows(image, chunk, size, known), size, _align_corners(model))
        else:
            parts = _logits(model, torch.cat([image[place] for place in places]))
        if total is None:
            total = parts.new_zeros(1, parts.shape[1], height, width)
        for place, part in zip(places, parts, strict=True):
            total[place] += part
            count[place] += 1
    assert total is not None, "an image has at least one window"
    return total.div_(count)
