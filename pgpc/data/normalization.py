"""The mean and standard deviation by which images are normalized, and back again."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from pgpc.data.pixel_form import RGB, PixelForm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet's RGB pixels, scale 0..255."""
STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet's RGB pixels, scale 0..255."""

_SHOWN_SPREAD = 2.0
"""Standard deviations to either side of the mean that a picture of values other than RGB of 8 bits shows."""


class Normalization(NamedTuple):
    """Mean and standard deviation of each band, in the units of the files.

    Attributes:
        mean: What becomes 0.
        std: What becomes 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_tensors(self) -> tuple[Tensor, Tensor]:
        """Return factor and summand, ``(C, 1, 1)``: an image is normalized as image * scale + shift."""
        return _scale_and_shift(self)

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return factor and summand on a device."""
        return _scale_and_shift_on(self, device)

    def inverse(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, ``(C, 1, 1)``, on a device: values are image * std + mean."""
        return _mean_and_std(self, device)


IMAGENET_PIXELS = Normalization(MEAN, STD)
"""How RGB of 8 bits is normalized, as networks that were trained on ImageNet expect it."""


def to_picture(normalized: Tensor, normalization: Normalization, form: PixelForm = RGB) -> Tensor:
    """Turn a normalized image into a picture to look at.

    RGB of 8 bits is shown as it is. Of other images the first three bands are taken for red, green and blue, or the
    first alone for gray, and two standard deviations to either side of the mean are shown from black to white.

    Args:
        normalized: An image ``(C, H, W)``.
        normalization: How it was normalized.
        form: The bands and bits that it had.

    Returns:
        ``(3, H, W)`` uint8.
    """
    if form == RGB:
        mean, std = normalization.inverse(normalized.device)
        values = normalized * std + mean
    else:
        shown = normalized[:3] if form.bands >= 3 else normalized[:1].expand(3, -1, -1)
        values = 127.5 * (1 + shown / _SHOWN_SPREAD)
    return values.round().clamp(0, 255).byte()


@functools.lru_cache(maxsize=16)
def _scale_and_shift(normalization: Normalization) -> tuple[Tensor, Tensor]:
    # One pass less than subtracting and dividing.
    import torch

    # The type is said, or the first caller's default would be everybody's.
    mean, std = (torch.tensor(values, dtype=torch.float32) for values in normalization)
    return (1 / std).view(-1, 1, 1), (-mean / std).view(-1, 1, 1)


@functools.lru_cache(maxsize=16)
def _scale_and_shift_on(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    # Computed on the host, so that they are the same to the bit.
    scale, shift = _scale_and_shift(normalization)
    return scale.to(device), shift.to(device)


@functools.lru_cache(maxsize=16)
def _mean_and_std(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    import torch

    mean, std = (torch.tensor(v, dtype=torch.float32, device=device).view(-1, 1, 1) for v in normalization)
    return mean, std
