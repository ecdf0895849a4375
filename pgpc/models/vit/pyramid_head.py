"""The decoder of VFM-UDA++: from the coarsest map up, a finer map added at each doubling of the resolution.

Source: Englert et al., "VFM-UDA++: Improving Network Architectures for Unsupervised Domain Adaptive Semantic
Segmentation", ICCV workshops 2025. There the four maps are those of a ViT-Adapter, whose deformable attention is a
compiled operator, and all as wide as the tokens. Here they are those of any encoder, of a plain vision transformer the
simple feature pyramid's, and as wide as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

_MOMENTUM = 0.01  # of batch norm's running statistics


class PyramidHead(nn.Module):
    """Transposed convolutions upward, 1x1 convolutions of the finer maps added, then 3x3 convolutions.

    Args:
        channels: Channels of the four maps, finest first; the coarsest has D.
        num_classes: C, the channels of the logits.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        widths = [channels[-1] // 2**i for i in range(4)]  # D, D/2, D/4, D/8
        steps = list(zip(widths[:-1], widths[1:], reversed(channels[:-1]), strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, kernel_size=2, stride=2) for wide, narrow, _ in steps)
        self.add = nn.ModuleList(nn.Conv2d(finer, narrow, kernel_size=1) for _, narrow, finer in steps)
        self.smooth = nn.ModuleList(nn.Conv2d(narrow, narrow, kernel_size=3, padding=1) for _, narrow, _ in steps)
        self.norm = nn.ModuleList(nn.BatchNorm2d(narrow, momentum=_MOMENTUM) for _, narrow, _ in steps)
        self.last = nn.Conv2d(widths[-1], widths[-1], kernel_size=3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.apply(_initialize)
        self.out = nn.Conv2d(widths[-1], num_classes, kernel_size=1, bias=False)
        nn.init.normal_(self.out.weight, std=0.1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map an encoder's maps ``(B, C_i, ~H/s, ~W/s)`` at strides 4, 8, 16, 32 to logits ``(B, C, ~H/4, ~W/4)``."""
        x = maps[-1]
        for up, add, smooth, norm, finer in zip(
            self.up, self.add, self.smooth, self.norm, reversed(maps[:-1]), strict=True
        ):
            h, w = finer.shape[2:]  # one row or column fewer where the coarser map has a cell of padding
            x = self.act(norm(smooth(up(x)[:, :, :h, :w] + add(finer))))
        logits: Tensor = self.out(self.last(x))
        return logits


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        # Of a transposed convolution the channels of the input come first, so that torch calls their fan "out".
        mode: Literal["fan_in", "fan_out"] = "fan_out" if isinstance(module, nn.ConvTranspose2d) else "fan_in"
        nn.init.kaiming_uniform_(module.weight, mode=mode, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
