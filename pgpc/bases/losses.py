"""Losses on labeled pixels, and the bilinear and nearest resizing that brings maps and labels together."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.models.config import ModelConfig
from pgpc.models.student import Outputs
from pgpc.runtime.precision import at_least_float32

Box = tuple[int, int]


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
    """Return every k-th row and column of `x`, ``(B, ..., H, W)``, so that it fits `map_`, which is coarser."""
    k = round(x.shape[-1] / map_.shape[-1])
    return x[..., ::k, ::k]


def _crop(x: Tensor, box: Box, side: int) -> Tensor:
    top, left = box
    return x[:, top : top + side, left : left + side]
