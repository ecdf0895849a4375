"""The light decoder of VFM-UDA: two transposed convolutions and a classifier on a plain vision transformer.

Source: Englert et al., "Exploring the Benefits of Vision Foundation Models for Unsupervised Domain Adaptation", CVPR
workshops 2024. Logits are brought to the size of the labels once, whatever the patch: the image was stretched to whole
patches, and the logits are stretched back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.segmenter import STRIDES, Decoded, Segmenter
from pgpc.models.vit.pyramid import ChannelNorm


class LightHead(nn.Module):
    """The decoder: it makes class logits at four times the resolution of the tokens.

    Args:
        width: D, the channels of the tokens.
        num_classes: C, the channels of the logits.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2, bias=False),
            ChannelNorm(width // 2),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 4, kernel_size=2, stride=2, bias=False),
            ChannelNorm(width // 4),
            nn.Conv2d(width // 4, width // 4, kernel_size=3, padding=1, bias=False),
            ChannelNorm(width // 4),
        )
        self.out = nn.Conv2d(width // 4, num_classes, kernel_size=1, bias=False)
        nn.init.normal_(self.out.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``(B, D, h, w)`` to logits ``(B, C, 4h, 4w)``."""
        logits: Tensor = self.out(self.upscale(tokens))
        return logits


class LightSegmenter(Segmenter):
    """A plain vision transformer and :class:`LightHead`; `head_channels` and `dropout` have no meaning.

    The encoder gives one map, that of the last block, whose cells divide the image evenly.
    """

    def decode(self, features: Sequence[Tensor], images: Tensor, box: tuple[int, int] | None = None) -> Decoded:
        """Compute logits ``(B, C, 4h, 4w)`` of the map of :meth:`encode`; `images` and `box` are not read."""
        return Decoded(self.decode_head(features[0]), None)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``(B, C, ceil(H/4), ceil(W/4))`` of images ``(B, 3, H, W)``, as every :class:`Segmenter`."""
        size = [-(-extent // STRIDES[0]) for extent in images.shape[2:]]
        return F.interpolate(self.segment(images), size=size, mode="bilinear", align_corners=False)
