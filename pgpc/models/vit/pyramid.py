"""Four maps at strides 4 to 32 of the one map that a plain vision transformer gives.

Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection" (ViTDet), ECCV 2022, the simple
feature pyramid: transposed convolutions make the finer maps of the last one, pooling the coarser. Its convolutions
behind that are left out, since the decoders here embed each map themselves. Pooling averages, so that the coarsest map,
of which the feature distance is taken, has no weights of its own.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.segmenter import STRIDES


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of every cell of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a map ``(B, C, H, W)``."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pyramid(nn.Module):
    """The maps at strides 4, 8, 16 and 32.

    Args:
        width: D, the channels of the tokens.
        patch: Side of a patch in pixels; its tokens stand for the nearest stride.

    Attributes:
        channels: Channels of the four maps: D, halved by each doubling of the resolution.
        level_of_tokens: Number of the map whose cells are the tokens.
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        stride = min(STRIDES, key=lambda s: abs(math.log2(s / patch)))
        self.level_of_tokens = STRIDES.index(stride)
        self.channels = tuple(max(width // max(stride // s, 1), 1) for s in STRIDES)
        self.finer = nn.ModuleList(_finer(width, stride // s) for s in STRIDES[: self.level_of_tokens])

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> list[Tensor]:
        """Compute the four maps.

        Args:
            tokens: ``(B, D, h, w)``, whose cells divide the image evenly.
            size: H and W of the image in pixels, multiples of 32.

        Returns:
            ``(B, C_i, H/s, W/s)``, finest first.
        """
        maps = [_at(level(tokens), size, s) for level, s in zip(self.finer, STRIDES, strict=False)]
        maps.append(_at(tokens, size, STRIDES[self.level_of_tokens]))
        while len(maps) < len(STRIDES):
            maps.append(F.avg_pool2d(maps[-1], 2))
        return maps


def _finer(width: int, factor: int) -> nn.Sequential:
    """Make what raises the resolution by 2, 4 or 8, a doubling at a time, and halves the channels each time."""
    layers: list[nn.Module] = []
    while factor > 1:
        if layers:
            layers += [ChannelNorm(width), nn.GELU()]
        layers.append(nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2))
        width, factor = width // 2, factor // 2
    return nn.Sequential(*layers)


def _at(x: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Return a map that covers an image at another stride, which differs where a patch is no power of two."""
    cells = (size[0] // stride, size[1] // stride)
    if tuple(x.shape[2:]) == cells:
        return x
    return F.interpolate(x, size=cells, mode="bilinear", align_corners=False)
