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
    # Here and not above: torchvision takes more than a second to import, and ProCA alone needs it.
    from torchvision.transforms.v2 import functional as V

    drawn = _draw(rng)
    adjust = (
        lambda x: V.adjust_brightness(x, drawn.brightness),
        lambda x: V.adjust_contrast(x, drawn.contrast),
        lambda x: V.adjust_saturation(x, drawn.saturation),
        lambda x: V.adjust_hue(x, drawn.hue),
    )
    for i in rng.permutation(len(adjust)):
        image = adjust[i](image)
    if drawn.gray < _GRAY_PROBABILITY:
        image = V.rgb_to_grayscale(image, num_output_channels=3)
    return _blur(image, drawn.sigma)


def _draw(rng: np.random.Generator) -> _Drawn:
    """Return what is drawn for one image, before the order of its changes."""
    brightness, contrast, saturation = rng.uniform(1 - _STRENGTH, 1 + _STRENGTH, size=3).tolist()
    return _Drawn(brightness, contrast, saturation, rng.uniform(-_HUE, _HUE), rng.random(), rng.uniform(*_BLUR_SIGMA))


def _blur(image: Tensor, sigma: float) -> Tensor:
    from torchvision.transforms.v2 import functional as V

    blurred: Tensor = V.gaussian_blur(image, [_BLUR_SIDE] * 2, [sigma] * 2)
    return blurred
