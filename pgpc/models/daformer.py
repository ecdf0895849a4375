"""The DAFormer decoder.

Source: Hoyer et al., "DAFormer: Improving Network Architectures and Training Strategies for Domain-Adaptive
Semantic Segmentation", CVPR 2022, the section on context-aware feature fusion. Module names equal those of
its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.depthwise import DilatedDepthwiseConv

_DILATIONS = (1, 6, 12, 18)


class Embedding(nn.Module):
    """Linear map of every pixel's feature vector."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to ``(B, C, H, W)``."""
        # The linear map as a convolution: channels stay first in memory, and so in all that follows. Channels last the
        # dilated convolutions below take three times as long on CPUs.
        return F.conv2d(x, self.proj.weight[:, :, None, None], self.proj.bias)


class ConvBNReLU(nn.Module):
    """A convolution that keeps the map's size, batch norm, ReLU."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is None, "the batch norm has one"
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to ``(B, C, H, W)``, none below 0."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class SeparableConv(nn.Module):
    """Dilated 3x3 convolution of every channel by itself, then a 1x1 convolution across channels."""

    def __init__(self, in_channels: int, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvBNReLU(DilatedDepthwiseConv(in_channels, 3, dilation=dilation))
        self.pointwise_conv = ConvBNReLU(same_size_conv(in_channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to ``(B, C, H, W)``."""
        out: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return out


def same_size_conv(in_channels: int, channels: int, kernel: int) -> nn.Conv2d:
    """Make a convolution that keeps the map's size, without bias, for a :class:`ConvBNReLU`."""
    return nn.Conv2d(in_channels, channels, kernel, padding="same", bias=False)


class ContextFusion(nn.Module):
    """Four branches of growing dilation, fused by a 3x3 convolution."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.aspp_modules = nn.ModuleList(
            ConvBNReLU(same_size_conv(in_channels, channels, 1))
            if dilation == 1
            else SeparableConv(in_channels, channels, dilation=dilation)
            for dilation in _DILATIONS
        )
        self.bottleneck = ConvBNReLU(same_size_conv(len(_DILATIONS) * channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to ``(B, C, H, W)``."""
        fused: Tensor = self.bottleneck(torch.cat([branch(x) for branch in self.aspp_modules], dim=1))
        return fused


class DAFormerHead(nn.Module):
    """The decoder: it makes class logits of four feature maps, at the size of the first.

    Args:
        in_channels: Channels of the feature maps, finest first.
        channels: Width of the embeddings and of the fusion.
        num_classes: C, the channels of the logits.
        dropout: Probability of dropping a whole channel before the classifier, in [0, 1).
        fusion: Function that makes the module which fuses the embeddings; it is given the number of channels of all
            embeddings together, and `channels`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        channels: int,
        num_classes: int,
        dropout: float,
        fusion: Callable[[int, int], nn.Module] = ContextFusion,
    ) -> None:
        super().__init__()
        self.embed_layers = nn.ModuleList(Embedding(c, channels) for c in in_channels)
        self.fuse_layer = fusion(len(in_channels) * channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        for module in self.fuse_layer.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        assert self.conv_seg.bias is not None
        nn.init.zeros_(self.conv_seg.bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute class logits.

        Args:
            features: Feature maps ``(B, C_i, H_i, W_i)``, finest first.

        Returns:
            ``(B, C, H_1, W_1)``.
        """
        size = features[0].shape[2:]
        embedded = []
        for embed, feature in zip(self.embed_layers, features, strict=True):
            x = embed(feature)
            if x.shape[2:] != size:
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            embedded.append(x)
        fused = self.fuse_layer(torch.cat(embedded, dim=1))
        logits: Tensor = self.conv_seg(self.dropout(fused))
        return logits
