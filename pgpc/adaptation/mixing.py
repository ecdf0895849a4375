"""ClassMix and the augmentation of mixed images (Tranheden et al., DACS, WACV 2021).

Which classes are pasted and how an image is perturbed is drawn on the host, per image of the global batch, so that the
result does not depend on how many processes share the batch and the device is never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization
from pgpc.runtime import distributed

_BLUR_SIGMA = (0.15, 1.15)
_BLUR_RADIUS = 6  # more than 5 sigma; the published kernels are wider, but hold nothing there


class Mixed(NamedTuple):
    """Mixed images and their targets.

    Attributes:
        images: Normalized images ``(B, bands, H, W)``.
        labels: Train ids ``(B, H, W)``, int64.
        weight: Weight of each pixel in the loss, ``(B, H, W)``.
        pasted: Mask ``(B, H, W)``, bool: True where the pixel comes from the source.
    """

    images: Tensor
    labels: Tensor
    weight: Tensor
    pasted: Tensor


def choose_classes(source_labels: Tensor, num_classes: int, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Choose, for each image, half of the classes (rounded up) of the whole source batch.

    "Ignore" counts as a class, and a chosen class need not be in the image it is chosen for.

    Args:
        source_labels: Train ids ``(B, H, W)`` of this process's images.
        num_classes: C, the number of classes.
        rngs: One generator per image.

    Returns:
        ``(B, C + 1)`` bool; the last column is "ignore".
    """
    labels = torch.where(source_labels == IGNORE_INDEX, num_classes, source_labels).flatten()
    seen = torch.zeros(num_classes + 1, dtype=torch.long, device=labels.device).scatter_(0, labels, 1)
    present = distributed.all_reduce_sum(seen) > 0  # (C + 1,)
    keys = torch.from_numpy(np.stack([rng.random(num_classes + 1) for rng in rngs]))
    keys = keys.to(labels.device, non_blocking=True)
    place = torch.where(present, keys, 2.0).argsort(dim=1).argsort(dim=1)  # absent classes come last
    return place < (present.sum() + 1) // 2


def class_mix(
    source_images: Tensor,
    source_labels: Tensor,
    target_images: Tensor,
    target_labels: Tensor,
    target_weight: Tensor,
    chosen: Tensor,
) -> Mixed:
    """Paste the source pixels of the chosen classes onto the target images.

    Args:
        source_images: Normalized images ``(B, 3, H, W)``.
        source_labels: Train ids ``(B, H, W)``.
        target_images: Normalized images ``(B, 3, H, W)``.
        target_labels: Pseudo-labels ``(B, H, W)``.
        target_weight: Weight of the pseudo-labels, ``(B, H, W)``; pasted pixels get 1.
        chosen: Chosen classes ``(B, C + 1)`` of :func:`choose_classes`.
    """
    column = torch.where(source_labels == IGNORE_INDEX, chosen.shape[1] - 1, source_labels)
    pasted = chosen.gather(1, column.flatten(1)).view_as(source_labels)
    return Mixed(
        images=torch.where(pasted[:, None], source_images, target_images),
        labels=torch.where(pasted, source_labels, target_labels),
        weight=torch.where(pasted, 1.0, target_weight),
        pasted=pasted,
    )


def perturb(
    images: Tensor,
    *,
    jitter: float,
    blur: bool,
    rngs: Sequence[np.random.Generator],
    normalization: Normalization = IMAGENET_PIXELS,
) -> Tensor:
    """Jitter the colors, then blur, with fresh factors for each image.

    Args:
        images: Normalized images ``(B, bands, H, W)``.
        jitter: Half-width of the perturbations, in [0, 0.5]; 0 leaves the colors alone, as it must where
            images are no RGB of 8 bits.
        blur: Whether to blur, with sigma ~ U(0.15, 1.15) pixels.
        rngs: One generator per image.
        normalization: How the images were normalized.

    Returns:
        Normalized images ``(B, bands, H, W)``.
    """
    mean, std = normalization.inverse(images.device)
    out = []
    for image, rng in zip(images, rngs):
        if jitter > 0:
            image = (color_jitter((image * std + mean).div(255).clamp(0, 1), jitter, rng) * 255 - mean) / std
        if blur:
            image = gaussian_blur(image, rng.uniform(*_BLUR_SIGMA))
        out.append(image)
    return torch.stack(out)


def color_jitter(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of one image, in random order.

    Brightness is *added* and contrast *multiplied* (about zero, not about the mean), as in the implementation that the
    published results were made with.

    Args:
        image: RGB ``(3, H, W)`` in [0, 1].
        strength: Half-width of the ranges: offsets lie in [-strength, strength], factors in
            [1 - strength, 1 + strength]; the hue turns by up to `strength` of the full circle.
        rng: Generator that draws the factors and the order.

    Returns:
        RGB ``(3, H, W)`` in [0, 1].
    """
    brightness, contrast, saturation, hue = rng.uniform(-strength, strength, size=4).tolist()
    adjust = (
        lambda x: (x + brightness).clamp(0, 1),
        lambda x: (x * (1 + contrast)).clamp(0, 1),
        lambda x: _turn_and_stretch(x, 0.0, 1 + saturation),
        lambda x: _turn_and_stretch(x, hue, 1.0),
    )
    for i in rng.permutation(len(adjust)):
        image = adjust[i](image)
    return image


def gaussian_blur(image: Tensor, sigma: float, radius: int = _BLUR_RADIUS) -> Tensor:
    """Blur one image ``(bands, H, W)``, whose sides are longer than the kernel's radius, with reflected borders."""
    x = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(len(image), 1, -1)
    padded = F.pad(image[None], [radius] * 4, mode="reflect")
    along_rows = F.conv2d(padded, kernel[:, :, None, :], groups=len(image))
    return F.conv2d(along_rows, kernel[:, :, :, None], groups=len(image))[0]


def _turn_and_stretch(rgb: Tensor, turn: float, stretch: float) -> Tensor:
    """Turn the hue by `turn` of the full circle and multiply the saturation of HSV, clamped to [0, 1]."""
    value, argmax = rgb.max(dim=0)
    chroma = value - rgb.amin(dim=0)
    r, g, b = rgb
    safe = chroma.clamp(min=1e-8)
    sector = torch.stack([(g - b) / safe, (b - r) / safe + 2, (r - g) / safe + 4]).gather(0, argmax[None])[0]
    hue = (sector / 6 + turn) % 1.0
    saturation = (chroma / value.clamp(min=1e-8) * stretch).clamp(0, 1)
    # RGB of (h, s, v): v - v s max(0, min(k, 4 - k, 1)) with k = (n + 6 h) mod 6 for n = 5, 3, 1.
    k = (torch.arange(5, 0, -2, device=rgb.device).view(3, 1, 1) + 6 * hue) % 6
    return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)
