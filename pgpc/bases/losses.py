"""Losses on labeled pixels, and the bilinear and nearest resizing that brings maps and labels together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.models.config import ModelConfig
from pgpc.models.segmenter import STRIDES
from pgpc.models.student import Outputs
from pgpc.runtime.precision import at_least_float32

Box = tuple[int, int]

_FINE = 8
"""Pixels per cell up to which it makes little difference which of them stands for the cell."""


def segmentation_loss(
    output: Outputs,
    labels: Tensor,
    weight: Tensor | None,
    box: Box | None,
    *,
    model: ModelConfig,
    align_corners: bool,
) -> Tensor:
    """Return the cross-entropy of one pass, that of HRDA's high-resolution crop by itself included.

    Args:
        output: The student's outputs, with logits.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)``, a factor on each pixel's loss; None is 1 everywhere.
        box: Top and left in pixels of the high-resolution crop that `output` was computed with.
        model: Side of the high-resolution crop and the share of the loss that it has by itself.
        align_corners: How logits are brought to the size of the labels.

    Returns:
        Scalar.
    """
    loss = cross_entropy(output.require_logits(), labels, weight, align_corners=align_corners)
    if output.detail is None:
        return loss
    assert box is not None and model.detail_crop is not None, "logits of a detail crop come from a box"
    crop = _crop(labels, box, model.detail_crop)
    crop_weight = None if weight is None else _crop(weight, box, model.detail_crop)
    detail = cross_entropy(output.detail, crop, crop_weight, align_corners=align_corners)
    return (1 - model.detail_weight) * loss + model.detail_weight * detail


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, *, align_corners: bool = False
) -> Tensor:
    """Return the cross-entropy at the size of the labels, averaged over *all* pixels: ignored ones count as zeros.

    Args:
        logits: ``(B, C, h, w)``, resized bilinearly to the size of the labels.
        labels: ``(B, H, W)`` train ids.
        weight: ``(B, H, W)``, a factor on each pixel's loss; None is 1 everywhere.
        align_corners: How logits are resized, as in ``torch.nn.functional.interpolate``.

    Returns:
        Scalar.
    """
    logits = upsample(logits, labels.shape[1:], align_corners)
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    return (loss if weight is None else loss * weight).mean()


def upsample(logits: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    """Return logits ``(B, C, h, w)`` at another size (height, width), bilinearly, in float32 or better."""
    return F.interpolate(at_least_float32(logits), list(size), mode="bilinear", align_corners=align_corners)


def at_stride_of(map_: Tensor, x: Tensor) -> Tensor:
    """Return every k-th row and column of `x`, ``(B, ..., H, W)``, so that it fits `map_`, which is coarser.

    So the first pixel of a cell stands for it. Of cells that are no stride of an encoder apart, as those of patches of
    14 pixels, the middle one does, see :func:`at_cells_of`.
    """
    k = round(x.shape[-1] / map_.shape[-1])
    taken = x[..., ::k, ::k]
    if taken.shape[-2:] == map_.shape[-2:] and (k <= _FINE or k in STRIDES):
        return taken
    return _middles(map_, x)


def at_cells_of(map_: Tensor, x: Tensor, width: int) -> Tensor:
    """Return the rows and columns of `x` that stand for the cells of a map whose pixels are contrasted.

    Where a cell has at most 8 pixels a side, its first one stands for it, as in :func:`at_stride_of`. In a cell of a
    vision transformer that is up to 11 pixels from its middle, which therefore stands for such a cell.

    Args:
        map_: ``(B, D, h, w)``.
        x: ``(B, ..., H, W)`` of the same images, at a finer resolution or the same.
        width: Width of the images in pixels.
    """
    return at_stride_of(map_, x) if round(width / map_.shape[-1]) <= _FINE else _middles(map_, x)


def _middles(map_: Tensor, x: Tensor) -> Tensor:
    """Return the middle pixels of the cells of `map_`, which divide `x` evenly."""
    rows, columns = (
        (2 * torch.arange(cells, device=x.device) + 1) * extent // (2 * cells)
        for extent, cells in zip(x.shape[-2:], map_.shape[-2:], strict=True)
    )
    return x[..., rows[:, None], columns]


def _crop(x: Tensor, box: Box, side: int) -> Tensor:
    top, left = box
    return x[:, top : top + side, left : left + side]
