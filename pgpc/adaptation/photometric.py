"""Changes of colors as torchvision makes them: factors about the mean, where :mod:`pgpc.adaptation.mixing` has offsets.

VFM-UDA and VFM-UDA++ (Englert et al., CVPR workshops 2024 and ICCV workshops 2025) change labeled images so, which
DAFormer and its successors leave alone, and ProCA both domains. Everything is drawn on the host, per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pgpc.adaptation.mixing import gaussian_blur
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization

_BLUR_RADIUS = 15  # five of the largest sigma


@dataclass(frozen=True, kw_only=True, slots=True)
class Photometric:
    """How strongly, and how often, the colors of an image are changed.

    Attributes:
        brightness: Half-width of the factor's range about 1.
        contrast: The same of the contrast about the image's mean gray.
        saturation: The same of the saturation.
        hue: Largest turn of the hue, as a share of the full circle.
        jittered: Probability that these four act at all.
        gray: Probability that the image becomes gray.
        blurred: Probability that it is blurred.
        sigma: Range of the blur's standard deviation in pixels.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    jittered: float
    gray: float = 0.0
    blurred: float = 0.0
    sigma: tuple[float, float] = (0.15, 3.0)


WEAK = Photometric(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360, jittered=0.9)
"""VFM-UDA's changes of labeled images, and of target images before source pixels are pasted onto them."""
STRONG = Photometric(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4, jittered=0.8, gray=0.1, blurred=0.5)
"""VFM-UDA++'s changes of labeled images."""


def change_colors(
    images: Tensor,
    how: Photometric,
    rngs: Sequence[np.random.Generator],
    normalization: Normalization = IMAGENET_PIXELS,
) -> Tensor:
    """Change the colors of each image by factors of its own.

    Args:
        images: Normalized RGB images of 8 bits, ``(B, 3, H, W)``.
        how: What may be changed, and how often.
        rngs: One generator per image.
        normalization: How the images were normalized.

    Returns:
        Normalized images ``(B, 3, H, W)``.
    """
    mean, std = normalization.inverse(images.device)
    pictures = (images * std + mean).div(255).clamp(0, 1)
    changed = torch.stack([_change(picture, how, rng) for picture, rng in zip(pictures, rngs, strict=True)])
    return (changed * 255 - mean) / std


def _change(image: Tensor, how: Photometric, rng: np.random.Generator) -> Tensor:
    """Return one changed image ``(3, H, W)`` in [0, 1]. The draws are as many, whatever acts."""
    jittered, gray, blurred = rng.random(3)
    brightness, contrast, saturation = (
        rng.uniform(max(1 - width, 0), 1 + width) for width in (how.brightness, how.contrast, how.saturation)
    )
    hue, sigma, order = rng.uniform(-how.hue, how.hue), rng.uniform(*how.sigma), rng.permutation(4)
    if jittered < how.jittered:
        image = jitter(image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, order=order)
    if gray < how.gray:
        image = to_gray(image)
    return gaussian_blur(image, sigma, _BLUR_RADIUS) if blurred < how.blurred else image


def jitter(
    image: Tensor, *, brightness: float, contrast: float, saturation: float, hue: float, order: np.ndarray
) -> Tensor:
    """Change brightness, contrast, saturation and hue of one image.

    Args:
        image: RGB ``(3, H, W)`` in [0, 1].
        brightness: Factor.
        contrast: Factor about the mean gray.
        saturation: Factor about each pixel's gray.
        hue: Turn, in [-0.5, 0.5] of the full circle.
        order: ``(4,)``, numbers 0 to 3 of these changes in the order in which they are made.

    Returns:
        RGB ``(3, H, W)`` in [0, 1].
    """
    # Here and not above: torchvision takes more than a second to import, and few bases need it.
    from torchvision.transforms.v2 import functional as V

    adjust = (
        lambda x: V.adjust_brightness(x, brightness),
        lambda x: V.adjust_contrast(x, contrast),
        lambda x: V.adjust_saturation(x, saturation),
        lambda x: V.adjust_hue(x, hue),
    )
    for i in order:
        image = adjust[i](image)
    return image


def to_gray(image: Tensor) -> Tensor:
    """Return an RGB image ``(3, H, W)`` without its colors, in as many bands."""
    from torchvision.transforms.v2 import functional as V

    gray: Tensor = V.rgb_to_grayscale(image, num_output_channels=3)
    return gray
