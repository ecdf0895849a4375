"""Where the feature maps of an encoder lie: ceil(H/s) x ceil(W/s) cells at stride s, whatever the size of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MULTIPLES = (1, 2, 4, 8, 16, 32)
"""What sides are padded to multiples of; the first with which an encoder is right is taken."""

SIZES = ((32, 64), (65, 97))
"""Heights and widths that an encoder is tried on: nothing is left over, and one pixel is at every stride."""


class MapError(RuntimeError):
    """An encoder gives maps of other sizes or channels than it says."""


class _Padding:
    """Two hooks: one pads images to multiples of some pixels, one cuts the cells of the padding off the maps.

    Args:
        multiple: What sides are padded to multiples of.
        strides: Pixels per cell of the maps.
    """

    def __init__(self, multiple: int, strides: Sequence[int]) -> None:
        self._multiple, self._strides = multiple, strides
        self._size = (0, 0)  # of the images that are in the encoder, which the second hook is not shown

    def pad(self, encoder: nn.Module, args: tuple[Tensor]) -> Tensor:
        """Pad images with 0, the mean color, at the right and bottom."""
        (images,) = args
        h, w = self._size = images.shape[2], images.shape[3]
        return F.pad(images, (0, -w % self._multiple, 0, -h % self._multiple))

    def cut(self, encoder: nn.Module, args: tuple[Tensor], maps: list[Tensor]) -> list[Tensor]:
        """Cut the cells off that show nothing but padding."""
        h, w = self._size
        return [x[:, :, : -(-h // s), : -(-w // s)] for x, s in zip(maps, self._strides, strict=True)]


def multiple_of_sides(encoder: nn.Module, strides: Sequence[int], bands: int = 3) -> int:
    """Return what the sides of images must be multiples of, for an encoder to give maps of ceil(H/s) x ceil(W/s) cells.

    Args:
        encoder: A network of timm with `feature_info`, on the meta device, where it costs little: it is tried.
        strides: s, pixels per cell of the maps.
        bands: Bands of the images that it takes.

    Raises:
        MapError: Its maps are elsewhere, even where no cell is left over.
        Exception: It takes no images of these sizes; what it raises is of its own choice.
    """
    info: Any = encoder.feature_info
    encoder.eval()
    for multiple in _MULTIPLES:
        try:
            sizes = [tuple(-(-extent // multiple) * multiple for extent in size) for size in SIZES]
            check_maps(encoder, sizes, strides, info.channels(), bands)
        except Exception:
            if multiple == _MULTIPLES[-1]:
                raise
        else:
            return multiple
    raise AssertionError("the last multiple either is right or has raised")


def pad_images(encoder: nn.Module, multiple: int, strides: Sequence[int]) -> None:
    """Have an encoder take images of any size, by hooks: its parameters keep their names.

    Args:
        encoder: A network that maps images to a list of maps.
        multiple: What the sides of its images must be multiples of.
        strides: s, pixels per cell of the maps.
    """
    if multiple > 1:
        padding = _Padding(multiple, strides)
        encoder.register_forward_pre_hook(padding.pad)
        encoder.register_forward_hook(padding.cut)


def check_maps(
    encoder: nn.Module,
    sizes: Sequence[tuple[int, ...]],
    strides: Sequence[int],
    channels: Sequence[int],
    bands: int,
) -> None:
    """Check the maps of images of some sizes, on the meta device.

    Args:
        encoder: A network that maps images to a list of maps.
        sizes: Heights and widths.
        strides: s, pixels per cell of the maps.
        channels: Channels of the maps.
        bands: Bands of the images.

    Raises:
        MapError: There are not ceil(H/s) x ceil(W/s) cells, or other channels.
    """
    for h, w in sizes:
        with torch.no_grad():
            maps = encoder(torch.zeros(1, bands, h, w, device="meta"))
        found = [tuple(x.shape[1:]) for x in maps]
        expected = [(c, -(-h // s), -(-w // s)) for c, s in zip(channels, strides, strict=True)]
        if found != expected:
            raise MapError(
                f"of an image of {h} x {w} pixels its maps have (channels, height, width) {found}, and not {expected}"
            )
