"""From encoded images and labels to normalized crops. Pixels stay whole numbers until the crop is cut.

Shapes: images are ``(H, W, C)``, uint8, RGB where C is 3, or uint16, with C bands; labels ``(H, W)`` uint8 train ids;
sizes are (width, height) as in the config; a box is (top, left, side).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization
from pgpc.data.tiles import Region

MAX_REDRAWS = 10
"""Number of times that a crop which misses its rule is drawn anew; the last is taken as it is."""

Box = tuple[int, int, int]


def box_size(
    width: int, height: int, box: tuple[int, int], fit: Literal["inside", "exact"] = "inside"
) -> tuple[int, int]:
    """Return the width and height of an image after resizing into a box.

    Args:
        width: The width of the image in pixels.
        height: Its height in pixels.
        box: The width and height of the box in pixels.
        fit: "inside" keeps the aspect ratio: floor(side * factor + 0.5), but at least 1. The box then has no
            orientation: its long side is for the long side of the image. "exact" squashes every image to the width and
            height of the box.
    """
    if fit == "exact":
        return box
    factor = min(max(box) / max(width, height), min(box) / min(width, height))
    return max(int(width * factor + 0.5), 1), max(int(height * factor + 0.5), 1)


def resize_image(
    image: np.ndarray, size: tuple[int, int], interpolation: Literal["bilinear", "bicubic"] = "bilinear"
) -> np.ndarray:
    """Resize an image, with each interpolation as in the methods that use it.

    Args:
        image: ``(H, W, C)`` uint8 or uint16.
        size: The new width and height.
        interpolation: "bilinear" is without anti-aliasing, as OpenCV's INTER_LINEAR, to within one gray level
            (DAFormer); "bicubic" is PIL's, with anti-aliasing (ProCA).
    """
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    if interpolation == "bicubic":
        return _bicubic(image, size)
    # 16 bits are resized as floats, which hold them exactly, and rounded: there is no arithmetic on them.
    deep = image.dtype != np.uint8
    planes = torch.from_numpy(image.astype(np.float32) if deep else image).permute(2, 0, 1)[None]
    # On uint8 PyTorch interpolates in fixed point, four times as fast as in float.
    resized = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    pixels: np.ndarray = resized[0].permute(1, 2, 0).numpy()
    return np.rint(pixels).astype(image.dtype) if deep else pixels


def _bicubic(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    bands = [
        np.array(Image.fromarray(image[..., k].astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
        for k in range(image.shape[2])
    ]
    # It overshoots at edges.
    limited: np.ndarray = np.rint(np.stack(bands, axis=2)).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)
    return limited


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label to the nearest pixels, as OpenCV's INTER_NEAREST: row i comes from floor(i * H / height)."""
    width, height = size
    if label.shape == (height, width):
        return label
    rows = np.arange(height) * label.shape[0] // height
    columns = np.arange(width) * label.shape[1] // width
    resized: np.ndarray = label[rows][:, columns]
    return resized


def resize_crop(
    image: np.ndarray,
    size: tuple[int, int],
    box: Box | None,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> np.ndarray:
    """Resize an image and cut a crop from it, with less work than that where the crop is exactly the same.

    The result equals ``cut(resize_image(image, size, interpolation), box)``. Where height and width shrink by whole
    factors, a pixel comes from its own block of the image, and only the blocks of the crop are resized. Other factors
    give each pixel other weights, and resizing all is as fast as applying these.
    """
    rows, row_rest = divmod(image.shape[0], size[1])
    columns, column_rest = divmod(image.shape[1], size[0])
    if box is None or interpolation == "bicubic" or row_rest or column_rest:
        return cut(resize_image(image, size, interpolation), box)
    top, left, side = box
    part = image[top * rows : (top + side) * rows, left * columns : (left + side) * columns]
    return resize_image(part, (part.shape[1] // columns, part.shape[0] // rows))


def needed_region(
    native: tuple[int, int],
    size: tuple[int, int],
    box: Box | None,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
) -> Region | None:
    """Return the part of an image that :func:`resize_crop` looks at; whatever lies beside it, the crop is the same.

    Args:
        native: The width and height of the image.
        size: Its width and height after resizing.
        box: The crop of the resized image; None means all.
        interpolation: The kind of resizing; "bicubic" needs all of the image.

    Returns:
        Top, left, height and width; None where all is needed.
    """
    if box is None or interpolation == "bicubic":
        return None
    top, left, side = box
    (first, rows), (begin, columns) = _needed(native[1], size[1], top, side), _needed(native[0], size[0], left, side)
    return first, begin, rows, columns


def _needed(old: int, new: int, start: int, side: int) -> tuple[int, int]:
    """Return the first pixel that is needed along a dimension, and the number of them.

    Pixel i of the resized image comes from both neighbors of (i + 1/2) old / new - 1/2.
    """
    first = max(start * old // new - 1, 0)
    end = min(-(-(start + side) * old // new) + 1, old)
    return first, end - first


def inside_margins(height: int, width: int, margins: tuple[int, int, int, int], box: Box | None = None) -> np.ndarray:
    """Return the mask of an image without its margins.

    Args:
        height: The height of the image in pixels.
        width: Its width in pixels.
        margins: The numbers of rows at the top and bottom and of columns at the left and right that do not count.
        box: The crop of the image whose mask is returned; None means the whole image.

    Returns:
        bool of the crop's height and width; False in the margins.
    """
    top, bottom, left, right = margins
    rows, columns = np.zeros((height, 1), dtype=bool), np.zeros((1, width), dtype=bool)
    rows[top : max(height - bottom, 0)] = True
    columns[:, left : max(width - right, 0)] = True
    if box is not None:
        rows, columns = rows[box[0] : box[0] + box[2]], columns[:, box[1] : box[1] + box[2]]
    inside: np.ndarray = rows & columns
    return inside


def draw_box(rng: np.random.Generator, height: int, width: int, side: int) -> Box:
    """Draw a box of `side` pixels at a uniform place; along a dimension that is too short it starts at 0."""
    top = int(rng.integers(max(height - side, 0) + 1))
    left = int(rng.integers(max(width - side, 0) + 1))
    return top, left, side


def draw_flip(rng: np.random.Generator) -> bool:
    """Draw whether to mirror a crop horizontally, with probability 1/2."""
    return bool(rng.random() < 0.5)


def cut(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """Return the part of an image or a label inside a box, or all where the box is None.

    Where the box reaches past the end, the part is smaller.
    """
    if box is None:
        return pixels
    top, left, side = box
    return pixels[top : top + side, left : left + side]


def count_ids(label: np.ndarray) -> np.ndarray:
    """Return the number of pixels of each id in an uint8 label, ``(256,)`` int64."""
    # PIL's histogram, because np.bincount first converts all pixels to int64.
    return np.array(Image.fromarray(label).histogram(), dtype=np.int64)


def is_varied(label: np.ndarray, max_share: float) -> bool:
    """Return whether a crop has several classes, none of which covers `max_share` or more of its labeled pixels.

    Args:
        label: ``(h, w)`` uint8 train ids.
        max_share: The share in (0, 1) that is too much; a crop of one class has more.
    """
    num = rest = np.count_nonzero(label != IGNORE_INDEX)
    if not num:
        return False
    # To count one class is ten times as fast as to count all. Common classes first, by a sample of the pixels: nearly
    # always the first decides, because it covers too much or leaves too little to any other.
    sample = np.bincount(label[::16, ::16].ravel(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]
    common_first = iter(np.argsort(-sample))
    while rest / num >= max_share:
        count = np.count_nonzero(label == next(common_first))
        if count / num >= max_share:
            return False
        rest -= count
    return True


def draw_source_box(
    rng: np.random.Generator,
    label: np.ndarray,
    side: int,
    max_share: float,
    enough: Callable[[np.ndarray], bool | np.bool_] = lambda crop: True,
) -> Box:
    """Draw the crop of a source image, looking at its label only.

    Two rules nest, each with up to `MAX_REDRAWS` redraws of which the last is not checked. The inner one: a crop
    should have more than one class, and no class should cover `max_share` or more of its labeled pixels.
    The outer one: the crop should be `enough`; a redraw draws by the inner rule again (DAFormer, section "Rare
    Class Sampling").

    Args:
        rng: The generator that the boxes are drawn with.
        label: ``(H, W)`` train ids of the resized image.
        side: The side of the crop in pixels.
        max_share: The share of a class in (0, 1] that is too much; 1 turns the inner rule off.
        enough: A function that says of the part of `label` in a box whether the outer rule holds.
    """
    box = _draw_varied_box(rng, label, side, max_share)
    for _ in range(MAX_REDRAWS):
        if enough(cut(label, box)):
            break
        box = _draw_varied_box(rng, label, side, max_share)
    return box


def _draw_varied_box(rng: np.random.Generator, label: np.ndarray, side: int, max_share: float) -> Box:
    height, width = label.shape
    box = draw_box(rng, height, width, side)
    if max_share < 1:
        for _ in range(MAX_REDRAWS):
            if is_varied(cut(label, box), max_share):
                break
            box = draw_box(rng, height, width, side)
    return box


def image_tensor(
    image: np.ndarray,
    *,
    flip: bool = False,
    side: int | None = None,
    normalization: Normalization = IMAGENET_PIXELS,
) -> Tensor:
    """Flip, normalize and pad a crop, or a whole image.

    Args:
        image: ``(h, w, C)`` uint8 or uint16.
        flip: True to mirror it horizontally.
        side: The side of the square to which it is padded with 0 at the bottom and right; None leaves the size.
        normalization: Mean and standard deviation of each band.

    Returns:
        ``(C, H, W)`` float32.
    """
    scale, shift = normalization.as_tensors()
    return _pad(planes(image, flip=flip).float().mul_(scale).add_(shift), side, 0.0)


def planes(image: np.ndarray, *, flip: bool = False) -> Tensor:
    """Flip an image and split it into its bands, ``(C, h, w)``: uint8, or float32 where it is uint16.

    That is several times slower on floats.
    """
    pixels = np.ascontiguousarray(_mirrored(image, flip).transpose(2, 0, 1))
    return torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))


def whole_image(
    image: np.ndarray,
    box: tuple[int, int],
    fit: Literal["inside", "exact"],
    interpolation: Literal["bilinear", "bicubic"],
    normalization: Normalization = IMAGENET_PIXELS,
) -> Tensor:
    """Prepare a whole image as a network sees it in evaluation: resized into its box, ``(1, C, h, w)`` float32."""
    size = box_size(image.shape[1], image.shape[0], box, fit)
    return image_tensor(resize_image(image, size, interpolation), normalization=normalization)[None]


def label_tensor(
    label: np.ndarray, *, flip: bool = False, side: int | None = None, dtype: type[np.integer[Any]] = np.int64
) -> Tensor:
    """Flip a crop of a label and pad it with ``IGNORE_INDEX``, ``(H, W)`` int64 or, as it comes, uint8."""
    return _pad(torch.from_numpy(_mirrored(label, flip).astype(dtype)), side, IGNORE_INDEX)


def mask_tensor(mask: np.ndarray, *, flip: bool = False, side: int | None = None) -> Tensor:
    """Flip a crop of a mask and pad it with False, ``(H, W)`` bool."""
    return _pad(torch.from_numpy(_mirrored(mask, flip).copy()), side, False)


def _mirrored(pixels: np.ndarray, flip: bool) -> np.ndarray:
    return pixels[:, ::-1] if flip else pixels


def _pad(pixels: Tensor, side: int | None, value: float) -> Tensor:
    if side is None or pixels.shape[-2:] == (side, side):
        return pixels
    height, width = pixels.shape[-2:]
    return F.pad(pixels, (0, side - width, 0, side - height), value=value)
