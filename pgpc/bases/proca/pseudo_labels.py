"""Pseudo-labels of crops that show an image at another scale than the network that labels it has seen it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.data.scaled_crops import PADDING, ScaledCrops
from pgpc.runtime.precision import at_least_float32


@torch.no_grad()
def crop_labels(
    logits: Tensor, crops: ScaledCrops, valid: Tensor, thresholds: Tensor, *, align_corners: bool
) -> Tensor:
    """Return the labels that a network gives the pixels of crops, where it is sure enough.

    They are those of native pixels, each taken for the pixels of the crop that are nearest to it: as if the logits were
    brought to the native size first and the labels from there to the crop, which takes more memory.

    Args:
        logits: ``(B, C, h, w)`` of the whole images.
        crops: The crops.
        valid: ``(B, H', W')`` bool of the whole images, False in their margins.
        thresholds: ``(C,)``, the probability that a label of each class needs.
        align_corners: How logits are brought to another size.

    Returns:
        ``(B, H, W)`` train ids; "ignore" beside the image, in its margins and where the network is not sure.
    """
    shown = (crops.rows != PADDING)[:, :, None] & (crops.columns != PADDING)[:, None]
    rows, columns = crops.rows.clamp(min=0), crops.columns.clamp(min=0)
    height, width = crops.native[:, :1], crops.native[:, 1:]
    at_pixels = _at_native_pixels(logits, rows, columns, (height, width), align_corners)
    probability, labels = at_pixels.softmax(dim=1).max(dim=1)
    in_rows, in_columns = rows * valid.shape[1] // height, columns * valid.shape[2] // width
    images = torch.arange(len(valid), device=valid.device)[:, None, None]
    sure = shown & valid[images, in_rows[:, :, None], in_columns[:, None]] & (probability >= thresholds[labels])
    return torch.where(sure, labels, IGNORE_INDEX)


def _at_native_pixels(
    logits: Tensor, rows: Tensor, columns: Tensor, native: tuple[Tensor, Tensor], align_corners: bool
) -> Tensor:
    """Return the logits, brought to the native size bilinearly, at some native pixels: ``(B, C, H, W)``.

    Args:
        logits: ``(B, C, h, w)``.
        rows: ``(B, H)``.
        columns: ``(B, W)``.
        native: Heights and widths, ``(B, 1)`` each.
        align_corners: How they are brought there.
    """
    logits = at_least_float32(logits)

    def place(pixels: Tensor, extent: Tensor) -> Tensor:
        """Return where pixels lie between -1 and 1, which are the centers or the outer edges of the outer ones."""
        if align_corners:
            return 2 * pixels.to(logits.dtype) / (extent - 1).clamp(min=1) - 1
        return (2 * pixels + 1).to(logits.dtype) / extent - 1

    y, x = (place(pixels, extent) for pixels, extent in zip((rows, columns), native, strict=True))
    grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), dim=3)
    return F.grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=align_corners)
