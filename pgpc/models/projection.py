"""The projection head: from encoder features to the space in which pixels are contrasted; training only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.runtime.precision import at_least_float32


class ProjectionHead(nn.Module):
    """The projection head: it makes one unit vector per pixel of the finest of several feature maps.

    The function is: resize all maps bilinearly to the first one's size, concatenate, 1x1 convolution to
    `hidden`, batch norm, ReLU, 1x1 convolution to `dim`, divide by the L2 norm. The last convolution has no
    ReLU behind it, so that cosines can be negative.

    Args:
        in_channels: Channels of the feature maps, finest first.
        hidden: Number of channels between the two convolutions.
        dim: D, the channels of the projections.
    """

    def __init__(self, in_channels: Sequence[int], hidden: int, dim: int) -> None:
        super().__init__()
        # A 1x1 convolution of a concatenation is the sum of one 1x1 convolution per part, and it commutes
        # with bilinear resizing (both are linear; one acts on channels, the other on positions). So each
        # level is convolved at its own resolution: the coarse levels, which have most of the channels, cost 4
        # to 64 times less.
        levels = [nn.Conv2d(c, hidden, 1, bias=False) for c in in_channels]
        self.levels = nn.ModuleList(levels)
        self.bn = nn.BatchNorm2d(hidden)
        self.out = nn.Conv2d(hidden, dim, 1)
        for level in levels:
            # The fan-out of the one convolution that the levels stand for.
            nn.init.kaiming_normal_(level.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Compute the projections of all pixels.

        Args:
            features: Feature maps ``(B, C_i, H_i, W_i)``, finest first.

        Returns:
            ``(B, D, H_1, W_1)``, unit vectors along D.
        """
        return self.unit_vectors(self.hidden(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def hidden(self, features: Sequence[Tensor]) -> Tensor:
        """Compute all but the last convolution.

        The batch norm makes all pixels of this part depend on one another; of the rest, :meth:`unit_vectors`, those
        pixels are enough that are read. The contrast reads about one in seven.

        Args:
            features: Feature maps as in :meth:`forward`.

        Returns:
            ``(B, hidden, H_1, W_1)``.
        """
        size = features[0].shape[2:]
        # Channels last: resizing, which on CPUs copies other maps back and forth, takes a fifth of the time, and the
        # pixels that are drawn lie in one piece each.
        x, *others = (
            level(feature.contiguous(memory_format=torch.channels_last))
            for level, feature in zip(self.levels, features, strict=True)
        )
        for other in others:
            x = x + F.interpolate(other, size=size, mode="bilinear", align_corners=False)
        return F.relu(self.bn(x), inplace=True)

    def unit_vectors(self, hidden: Tensor) -> Tensor:
        """Apply the last convolution to pixels in any arrangement.

        Args:
            hidden: Features ``(..., hidden)`` of :meth:`hidden`.

        Returns:
            ``(..., D)``, unit vectors along D, at least float32.
        """
        x = F.linear(hidden, self.out.weight.flatten(1), self.out.bias)
        return F.normalize(at_least_float32(x), dim=-1)  # bfloat16 gives no unit vectors
