"""A dilated depthwise convolution whose backward pass is as fast on a CPU as its forward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight


class DilatedDepthwiseConv(nn.Conv2d):
    """Convolution of every channel by itself that keeps the map's size, without bias.

    On a CPU the gradient with respect to the input, itself such a convolution, is computed as one: torch's own way
    takes two to nine times as long. Everything else is torch's.

    Args:
        channels: C, the number of channels.
        kernel: Side of the kernel, odd.
        dilation: Distance between the pixels that it reads.
    """

    def __init__(self, channels: int, kernel: int, *, dilation: int) -> None:
        assert kernel % 2, "or the map would not keep its size"
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        if x.is_cpu and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
            out: Tensor = _Depthwise.apply(x, self.weight, self.padding, self.dilation)
            return out
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, ...], dilation: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options = {"padding": padding, "dilation": dilation, "groups": len(weight)}
        return F.conv2d(x, weight, **ctx.options)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = F.conv2d(gradient, weight.flip(2, 3), **ctx.options)
        if ctx.needs_input_grad[1]:
            of_weight = conv2d_weight(x, weight.shape, gradient, **ctx.options)
        return of_x, of_weight, None, None
