"""Where the feature maps of an encoder lie: ceil(H/s) x ceil(W/s) cells at stride s, whatever the size of the image."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MULTIPLES = (1, 2, 4, 8, 16, 32)
"""What sides are padded to multiples of; the first with which an encoder is right is taken."""

_SIZES = ((32, 64), (65, 97), (78, 104))
"""Heights and widths that an encoder is tried on: no cell is left over, one pixel is at every stride, and others."""


class MapError(RuntimeError):
    """An encoder gives maps of other sizes or channels than it says."""


class _Padding:
    """Two hooks: one pads images to multiples of some pixels, one cuts the cells of the padding off the maps.

    Hooks and not a wrapper, so that parameters keep their names.

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


def align_maps(encoder: nn.Module, strides: Sequence[int]) -> None:
    """Have an encoder take images of any size, and give maps of ceil(H/s) x ceil(W/s) cells.

    Args:
        encoder: A network of timm with `feature_info`, which gives a list of maps ``(B, C_i, H_i, W_i)``. Where it
            needs them it is given hooks; its parameters keep their names.
        strides: s, pixels per cell of the maps.

    Raises:
        MapError: Its maps are elsewhere, even where no cell is left over.
        Exception: It takes no images of these sizes; what it raises is of its own choice.
    """
    info: Any = encoder.feature_info
    tried = _without_data(encoder).eval()
    for multiple in _MULTIPLES:
        try:
            for size in _SIZES:
                h, w = (-(-extent // multiple) * multiple for extent in size)
                _check_maps(tried, (h, w), strides, info.channels())
        except Exception:
            if multiple == _MULTIPLES[-1]:
                raise
            continue
        if multiple > 1:
            padding = _Padding(multiple, strides)
            encoder.register_forward_pre_hook(padding.pad)
            encoder.register_forward_hook(padding.cut)
        return


def _check_maps(encoder: nn.Module, size: tuple[int, int], strides: Sequence[int], channels: Sequence[int]) -> None:
    """Check the maps of an image of one size, on the meta device."""
    h, w = size
    with torch.no_grad():
        maps = encoder(torch.zeros(1, 3, h, w, device="meta"))
    found = [tuple(x.shape[1:]) for x in maps]
    expected = [(c, -(-h // s), -(-w // s)) for c, s in zip(channels, strides, strict=True)]
    if found != expected:
        raise MapError(
            f"of an image of {h} x {w} pixels its maps have (channels, height, width) {found}, and not {expected}"
        )


def _without_data(encoder: nn.Module) -> nn.Module:
    """Return a copy of a network on the meta device, where there are no numbers: it costs neither time nor memory."""
    copied: dict[int, Tensor] = {}
    for parameter in encoder.parameters():
        copied[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    for buffer in encoder.buffers():
        copied[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(encoder, copied)
