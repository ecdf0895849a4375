"""From encoded images and labels to normalised crops. Pixels stay uint8 until the crop is cut.

Shapes: images are ``(H, W, 3)`` uint8 RGB, labels ``(H, W)`` uint8 train ids; sizes are (width, height) as in
the config; a box is (top, left, side).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX

MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet's RGB pixels, scale 0..255."""
STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet's RGB pixels, scale 0..255."""

MAX_REDRAWS = 10
"""How often a crop that misses its rule is drawn anew; the last is taken as it is."""

Box = tuple[int, int, int]

# Normalised as image * scale + shift: one pass less than subtracting and dividing.
_SCALE = (1 / torch.tensor(STD)).view(3, 1, 1)
_SHIFT = (-torch.tensor(MEAN) / torch.tensor(STD)).view(3, 1, 1)


def decode_image(data: bytes) -> np.ndarray:
    """An encoded image as ``(H, W, 3)`` uint8 RGB."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def decode_label(data: bytes) -> np.ndarray:
    """An encoded 8-bit label, grey or palette, as ``(H, W)`` uint8 of its pixel values.

    Raises:
        ValueError: the file is not an 8-bit picture with one channel.
    """
    with Image.open(io.BytesIO(data)) as image:
        if image.mode not in ("L", "P"):
            raise ValueError(
                f"label must be an 8-bit picture of ids with one channel, but its mode is {image.mode!r}"
            )
        return np.array(image)


def box_size(
    width: int, height: int, box: tuple[int, int], fit: Literal["inside", "exact"] = "inside"
) -> tuple[int, int]:
    """Width and height of an image after resizing into a box.

    "inside" keeps the aspect ratio: floor(side * factor + 0.5). The box then has no orientation: its long side is for
    the long side of the image. "exact" squashes every image to the width and height of the box.
    """
    if fit == "exact":
        return box
    factor = min(max(box) / max(width, height), min(box) / min(width, height))
    return int(width * factor + 0.5), int(height * factor + 0.5)


def resize_image(
    image: np.ndarray, size: tuple[int, int], interpolation: Literal["bilinear", "bicubic"] = "bilinear"
) -> np.ndarray:
    """Resize, each way as the methods that use it do.

    "bilinear" is without anti-aliasing, as OpenCV's INTER_LINEAR, to within one grey level (DAFormer); "bicubic" is
    PIL's, with anti-aliasing (ProCA).
    """
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "bicubic":
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    # On uint8 PyTorch interpolates in fixed point, four times as fast as in float.
    resized = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to the nearest pixel, OpenCV's INTER_NEAREST: row i comes from floor(i * H / height)."""
    width, height = size
    if label.shape == (height, width):
        return label
    rows = np.arange(height) * label.shape[0] // height
    columns = np.arange(width) * label.shape[1] // width
    return label[rows][:, columns]


def inside_margins(height: int, width: int, margins: tuple[int, int, int, int]) -> np.ndarray:
    """``(height, width)`` bool: False on the given rows at the top and bottom and columns at the left and right."""
    top, bottom, left, right = margins
    inside = np.zeros((height, width), dtype=bool)
    inside[top : max(height - bottom, 0), left : max(width - right, 0)] = True
    return inside


def draw_box(rng: np.random.Generator, height: int, width: int, side: int) -> Box:
    """A box of `side` pixels at a uniform place; along a dimension that is too short it starts at 0."""
    top = int(rng.integers(max(height - side, 0) + 1))
    left = int(rng.integers(max(width - side, 0) + 1))
    return top, left, side


def draw_flip(rng: np.random.Generator) -> bool:
    """Whether to mirror a crop horizontally; probability 1/2."""
    return bool(rng.random() < 0.5)


def cut(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """The part of an image or a label inside a box, smaller than it where it reaches past the end; None: all."""
    if box is None:
        return pixels
    top, left, side = box
    return pixels[top : top + side, left : left + side]


def count_ids(label: np.ndarray) -> np.ndarray:
    """``(256,)`` int64, number of pixels of each id."""
    # PIL's histogram, because np.bincount first converts all pixels to int64.
    return np.array(Image.fromarray(label).histogram(), dtype=np.int64)


def draw_source_box(
    rng: np.random.Generator,
    label: np.ndarray,
    side: int,
    max_share: float,
    enough: Callable[[np.ndarray], bool] = lambda counts: True,
) -> Box:
    """Draw the crop of a source image, looking at its label only.

    Two rules nest, each with up to `MAX_REDRAWS` redraws of which the last is not checked. Inner: a crop
    should have more than one class, and no class should cover `max_share` or more of its labelled pixels.
    Outer: the crop should be `enough`; a redraw draws by the inner rule again (DAFormer, section "Rare
    Class Sampling").

    Args:
        rng: source of the boxes.
        label: ``(H, W)`` train ids of the resized image.
        side: side of the crop in pixels.
        max_share: in (0, 1]; 1 turns the inner rule off.
        enough: tells from a crop's ``(256,)`` pixel counts whether the outer rule holds.
    """
    box, counts = _draw_varied_box(rng, label, side, max_share)
    for _ in range(MAX_REDRAWS):
        if enough(counts):
            break
        box, counts = _draw_varied_box(rng, label, side, max_share)
    return box


def _draw_varied_box(
    rng: np.random.Generator, label: np.ndarray, side: int, max_share: float
) -> tuple[Box, np.ndarray]:
    box = draw_box(rng, *label.shape, side)
    counts = count_ids(cut(label, box))
    if max_share < 1:
        for _ in range(MAX_REDRAWS):
            labelled = np.delete(counts, IGNORE_INDEX)
            if (labelled > 0).sum() > 1 and labelled.max() / labelled.sum() < max_share:
                break
            box = draw_box(rng, *label.shape, side)
            counts = count_ids(cut(label, box))
    return box, counts


def image_tensor(image: np.ndarray, *, flip: bool = False, side: int | None = None) -> Tensor:
    """Flip, normalise and pad a crop, or a whole image.

    Args:
        image: ``(h, w, 3)`` uint8.
        flip: mirror horizontally.
        side: pad with 0 at the bottom and right to a square of this side; None leaves the size.

    Returns:
        ``(3, H, W)`` float32.
    """
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    # Contiguous planes first: arithmetic on interleaved channels is several times slower.
    normalised = planes.to(torch.float32, memory_format=torch.contiguous_format).mul_(_SCALE).add_(_SHIFT)
    return _pad(normalised.flip(-1) if flip else normalised, side, 0.0)


def label_tensor(label: np.ndarray, *, flip: bool = False, side: int | None = None) -> Tensor:
    """Flip and pad a crop of a label, with IGNORE_INDEX, as ``(H, W)`` int64."""
    ids = torch.from_numpy(np.ascontiguousarray(label)).long()
    return _pad(ids.flip(-1) if flip else ids, side, IGNORE_INDEX)


def mask_tensor(mask: np.ndarray, *, flip: bool = False, side: int | None = None) -> Tensor:
    """Flip and pad a crop of a mask, with False, as ``(H, W)`` bool."""
    kept = torch.from_numpy(np.ascontiguousarray(mask))
    return _pad(kept.flip(-1) if flip else kept, side, False)


def _pad(pixels: Tensor, side: int | None, value: float) -> Tensor:
    if side is None or pixels.shape[-2:] == (side, side):
        return pixels
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, side - width, 0, side - height), value=value)
