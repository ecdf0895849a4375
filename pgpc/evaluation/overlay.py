"""Segmentations to look at: a picture under the colors of its classes, and what the colors mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import ClassSet, colorize
from pgpc.data.config import DataConfig
from pgpc.data.normalization import to_picture
from pgpc.data.pixel_form import RGB
from pgpc.data.transforms import image_tensor

_PHOTOS = DataConfig()
_OPACITY = 0.55
_BOUNDARY = 255
_PIXELS_PER_LINE = 1000  # length of the picture's longer side for which boundaries get one more pixel of width
_FADED = 0.75  # how far the gray of pixels without color is moved towards white
_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def photo(image: Tensor, size: Sequence[int], data: DataConfig = _PHOTOS) -> np.ndarray:
    """Turn a normalized image back into a picture, see :func:`pgpc.data.normalization.to_picture`.

    Args:
        image: One normalized image ``(1, bands, h, w)``.
        size: Height and width of the result.
        data: The configuration that it was normalized by.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    resized = F.interpolate(image.cpu(), tuple(size), mode="bilinear", align_corners=False)[0]
    pixels: np.ndarray = to_picture(resized, data.normalization, data.pixels).permute(1, 2, 0).numpy()
    return pixels


def picture_of(image: np.ndarray, data: DataConfig) -> np.ndarray:
    """Return an image as a picture to look at: itself where it is RGB of 8 bits, and else as :func:`photo` shows it.

    Args:
        image: ``(H, W, bands)``, uint8 or uint16.
        data: The configuration that it is normalized by.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    if data.pixels == RGB:
        return image
    shown = image_tensor(image, normalization=data.normalization)
    pixels: np.ndarray = to_picture(shown, data.normalization, data.pixels).permute(1, 2, 0).numpy()
    return pixels


def paint(photo: np.ndarray, ids: np.ndarray, shown: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Show some pixels in the colors of their classes, and the others as a faded gray photo.

    Args:
        photo: Picture ``(h, w, 3)``, uint8 RGB.
        ids: Train ids ``(h, w)``.
        shown: Mask ``(h, w)``, bool, of the pixels in color.
        classes: The classes, whose colors are taken.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    faded = np.rint(photo @ _GRAY * (1 - _FADED) + 255 * _FADED).astype(np.uint8)
    return np.where(shown[..., None], colorize(ids, classes), faded[..., None])


def draw_overlay(image: np.ndarray, ids: np.ndarray, classes: ClassSet) -> Image.Image:
    """Draw a picture under the colors of its classes, with a white line between them.

    Args:
        image: Picture ``(H, W, 3)``, uint8 RGB.
        ids: Train ids ``(H, W)``, uint8.
        classes: The classes, whose colors are taken.
    """
    colored = Image.fromarray(colorize(ids, classes))
    blended = np.array(Image.blend(Image.fromarray(image), colored, _OPACITY))
    blended[_boundaries(ids, 1 + max(ids.shape) // _PIXELS_PER_LINE)] = _BOUNDARY
    return Image.fromarray(blended)


def _boundaries(ids: np.ndarray, width: int) -> np.ndarray:
    """Find the pixels at most `width` before one of another class, downwards or to the right: ``(H, W)`` bool."""
    edge = np.zeros(ids.shape, dtype=bool)
    for step in range(1, width + 1):
        edge[:-step] |= ids[:-step] != ids[step:]
        edge[:, :-step] |= ids[:, :-step] != ids[:, step:]
    return edge


def draw_legend(classes: ClassSet) -> Image.Image:
    """Draw the color and the name of every class, one below the other."""
    size, gap = 20, 8
    font = ImageFont.load_default(size)
    row = size + gap
    width = max(round(font.getlength(name)) for name in classes.names) + 2 * size + 4 * gap
    legend = Image.new("RGB", (width, row * len(classes.names) + gap), "white")
    draw = ImageDraw.Draw(legend)
    for k, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        top = gap + k * row
        draw.rectangle((gap, top, gap + 2 * size, top + size - 1), fill=color, outline="black")
        draw.text((2 * size + 3 * gap, top + size // 2), name, fill="black", font=font, anchor="lm")
    return legend
