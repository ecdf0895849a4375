"""Crops of images at random multiples of their native size, and where each of their pixels comes from.

A network is shown the crop, and what it is to learn there is known of the native image, as another network has seen it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pgpc.data import transforms
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization

PADDING = -1
"""Row or column of the native image for what lies beside it."""


class ScaledCrops(NamedTuple):
    """Crops of B images that were brought to other scales.

    Attributes:
        images: ``(B, C, H, W)`` float32, normalized; black beside the image.
        rows: ``(B, H)`` int64, the row of the native image that each row shows; `PADDING` beside it.
        columns: ``(B, W)`` int64, the same of the columns.
        native: ``(B, 2)`` int64, height and width of the native images.
    """

    images: Tensor
    rows: Tensor
    columns: Tensor
    native: Tensor


def scaled_crop(
    image: np.ndarray,
    size: tuple[int, int],
    scales: tuple[float, float],
    rng: np.random.Generator,
    *,
    interpolation: Literal["bilinear", "bicubic"],
    normalization: Normalization = IMAGENET_PIXELS,
) -> ScaledCrops:
    """Bring an image to a uniform multiple of its size, cut a crop at a uniform place, and mirror it in half of cases.

    Along a dimension in which the scaled image is shorter than the crop it lies at a uniform place within it, with
    black on both sides.

    Args:
        image: ``(H, W, C)`` uint8 or uint16, native.
        size: The width and height of the crop in pixels.
        scales: The least and the largest multiple, above 0.
        rng: The generator that draws scale, place and side, in this order.
        interpolation: How the image is resized, see :func:`pgpc.data.transforms.resize_image`.
        normalization: Mean and standard deviation of each band.

    Returns:
        The crop of the one image.
    """
    native, crop = image.shape[:2], (size[1], size[0])
    scale = rng.uniform(*scales)
    scaled = [max(int(side * scale), 1) for side in native]
    starts = [_draw_start(rng, have, want) for have, want in zip(scaled, crop, strict=True)]
    flip = transforms.draw_flip(rng)
    resized = transforms.resize_image(image, (scaled[1], scaled[0]), interpolation)
    pixels = np.zeros((*crop, image.shape[2]), image.dtype)
    ours, theirs = zip(*map(_overlap, starts, scaled, crop), strict=True)
    pixels[ours] = resized[theirs]
    rows, columns = map(_native_pixels, starts, scaled, crop, native)
    return ScaledCrops(
        transforms.image_tensor(pixels, flip=flip, normalization=normalization)[None],
        rows[None],
        (columns.flip(0) if flip else columns)[None],
        torch.tensor([native]),
    )


def _draw_start(rng: np.random.Generator, have: int, want: int) -> int:
    """Draw the pixel of the scaled image that the crop begins with; negative where it begins with padding."""
    return int(rng.integers(min(have - want, 0), max(have - want, 0) + 1))


def _overlap(start: int, have: int, want: int) -> tuple[slice, slice]:
    """Return the part of the crop that shows the scaled image, and the part of the image that it shows."""
    first, end = max(start, 0), min(start + want, have)
    return slice(first - start, end - start), slice(first, end)


def _native_pixels(start: int, have: int, want: int, native: int) -> Tensor:
    """Return the native pixel nearest to the center of each pixel of the crop along a dimension."""
    place = torch.arange(start, start + want)
    nearest = (2 * place + 1) * native // (2 * have)
    return torch.where((place >= 0) & (place < have), nearest, PADDING)
