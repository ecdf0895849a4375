"""How ProCA changes the colors of images, in stages "adapt" and "self_training".

Everything is drawn on the host, per image of the global batch, so that the result does not depend on how many processes
share the batch and the device is never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pgpc.adaptation.photometric import jitter, to_gray
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization
from pgpc.data.pixel_form import RGB, PixelForm

_STRENGTH = 0.5  # brightness, contrast and saturation are multiplied by U(1 - this, 1 + this)
_HUE = 0.2  # the hue turns by U(-this, this) of the full circle
_GRAY_PROBABILITY = 0.2
_BLUR_SIDE, _BLUR_SIGMA = 3, (0.1, 2.0)


class _Drawn(NamedTuple):
    brightness: float
    contrast: float
    saturation: float
    hue: float
    gray: float
    sigma: float


def augment_colors(
    images: Tensor,
    rngs: Sequence[np.random.Generator],
    normalization: Normalization = IMAGENET_PIXELS,
    form: PixelForm = RGB,
) -> Tensor:
    """Jitter colors in random order, sometimes turn to gray, then blur slightly, with fresh factors for each image.

    Images of other than RGB of 8 bits are only blurred.

    Contrast is about the mean and brightness a factor, as torchvision does it; :func:`pgpc.adaptation.mixing.perturb`
    differs in both.

    Args:
        images: ``(B, bands, H, W)`` normalized.
        rngs: one generator per image.
        normalization: How the images were normalized.
        form: Their bands and bits.

    Returns:
        ``(B, bands, H, W)`` normalized.
    """
    if form != RGB:
        return torch.stack([_blur(image, _draw(rng).sigma) for image, rng in zip(images, rngs)])
    mean, std = normalization.inverse(images.device)
    pictures = (images * std + mean).div(255).clamp(0, 1)
    changed = torch.stack([_change(picture, rng) for picture, rng in zip(pictures, rngs)])
    return (changed * 255 - mean) / std


def _change(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return one changed image ``(3, H, W)`` in [0, 1]."""
    drawn = _draw(rng)
    image = jitter(
        image,
        brightness=drawn.brightness,
        contrast=drawn.contrast,
        saturation=drawn.saturation,
        hue=drawn.hue,
        order=rng.permutation(4),
    )
    if drawn.gray < _GRAY_PROBABILITY:
        image = to_gray(image)
    return _blur(image, drawn.sigma)


def _draw(rng: np.random.Generator) -> _Drawn:
    """Return what is drawn for one image, before the order of its changes."""
    brightness, contrast, saturation = rng.uniform(1 - _STRENGTH, 1 + _STRENGTH, size=3).tolist()
    return _Drawn(brightness, contrast, saturation, rng.uniform(-_HUE, _HUE), rng.random(), rng.uniform(*_BLUR_SIGMA))


def _blur(image: Tensor, sigma: float) -> Tensor:
    # Here and not above: torchvision takes more than a second to import.
    from torchvision.transforms.v2 import functional as V

    blurred: Tensor = V.gaussian_blur(image, [_BLUR_SIDE] * 2, [sigma] * 2)
    return blurred
