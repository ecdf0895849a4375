"""Mix Transformer (MiT), the encoder of SegFormer, ``mit_b0`` .. ``mit_b5``.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021. Parameter names equal those of SegFormer's ImageNet files.

Shapes: B batch, H and W height and width of a stage, C its channels. Inside a stage maps are (B, H, W, C),
since linear layers and layer norms want channels last; only convolutions see a permuted view. Each stage ends
in a norm that returns (B, C, H, W).

Nothing of timm is used here, which every process that trains would pay seconds of imports for.
:mod:`pgpc.models.mit_in_timm` makes these networks models of timm, too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pgpc.models.drop_path import DropPath

_NUM_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)
_MLP_RATIO = 4


class PatchEmbed(nn.Module):
    """Overlapping patches: a strided convolution and a layer norm."""

    def __init__(self, in_chans: int, dim: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, h, w)`` to ``(B, H, W, C)``."""
        patches: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return patches


class Attention(nn.Module):
    """Self-attention with keys and values from a map reduced by a strided convolution (SegFormer, Eq. 2)."""

    def __init__(self, dim: int, *, num_heads: int, reduction: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.reduction = reduction
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if reduction > 1:
            self.sr = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        b, h, w, c = x.shape
        context = x
        if self.reduction > 1:
            context = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        q = self.q(x).reshape(b, h * w, self.num_heads, -1).transpose(1, 2)
        # The joint projection holds the keys of all heads first, then the values of all heads.
        k, v = self.kv(context).reshape(b, -1, 2, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(b, h, w, c))
        return projected


class DepthwiseConv(nn.Module):
    """3x3 convolution of every channel by itself; it is what tells the network where a token lies."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        conv = self.dwconv
        # The gradient of the weight comes in the layout of the map, channels last, and through these views in that of
        # the weight: the same numbers in the same order, but elsewhere strides are compared that mean nothing.
        weight = conv.weight.flatten(1).view(conv.weight.shape) if torch.is_grad_enabled() else conv.weight
        out = F.conv2d(x.permute(0, 3, 1, 2), weight, conv.bias, padding=conv.padding, groups=conv.groups)
        return out.permute(0, 2, 3, 1)


class MixFFN(nn.Module):
    """Linear, depthwise convolution, GELU, linear (SegFormer, Eq. 3)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, _MLP_RATIO * dim)
        self.dwconv = DepthwiseConv(_MLP_RATIO * dim)
        self.fc2 = nn.Linear(_MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x))))
        return out


class Block(nn.Module):
    """Attention, then Mix-FFN, each with pre-norm, residual path and stochastic depth."""

    def __init__(self, dim: int, *, num_heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads=num_heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MixFFN(dim)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class Stage(nn.Sequential):
    """The blocks of a stage.

    Attributes:
        checkpointing: Whether in training only the inputs of the blocks are kept for the backward pass, which then
            computes each block again, with the same draws of stochastic depth.
    """

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to the same shape."""
        recompute = self.checkpointing and self.training and torch.is_grad_enabled()
        for block in self:
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return x


class StageNorm(nn.LayerNorm):
    """The layer norm that ends a stage, and puts the channels first."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` to ``(B, C, H, W)``."""
        return super().forward(x).permute(0, 3, 1, 2).contiguous()


class MixTransformer(nn.Module):
    """The four stages of MiT, and the classifier that they are trained with on ImageNet.

    Args:
        embed_dims: Channels of the four stages, multiples of the 1, 2, 5 and 8 attention heads.
        depths: Number of blocks of the four stages.
        in_chans: Channels of the images.
        num_classes: Outputs of the classifier; 0 for none.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 over all blocks.

    Attributes:
        channels: Channels of the four maps.
    """

    def __init__(
        self,
        embed_dims: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels = list(embed_dims)
        rates = iter(drop_path_rate * i / max(sum(depths) - 1, 1) for i in range(sum(depths)))
        for i, (dim, depth, num_heads, reduction) in enumerate(
            zip(embed_dims, depths, _NUM_HEADS, _REDUCTIONS, strict=True)
        ):
            if i == 0:
                embed = PatchEmbed(in_chans, dim, kernel=7, stride=4)
            else:
                embed = PatchEmbed(embed_dims[i - 1], dim, kernel=3, stride=2)
            blocks = [Block(dim, num_heads=num_heads, reduction=reduction, drop_path=next(rates)) for _ in range(depth)]
            self.add_module(f"patch_embed{i + 1}", embed)
            self.add_module(f"block{i + 1}", Stage(*blocks))
            self.add_module(f"norm{i + 1}", StageNorm(dim, eps=1e-6))
        self.head: nn.Module = nn.Linear(embed_dims[-1], num_classes) if num_classes > 0 else nn.Identity()
        self.apply(_init_weights)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images ``(B, in_chans, H, W)``, H and W at least 29, to the maps of all stages.

        Returns:
            Four maps ``(B, C_i, ceil(H/s), ceil(W/s))``, at the strides s of `OWN_STRIDES`.
        """
        maps, x = [], images
        for name, module in self.named_children():
            if name != "head":
                x = module(x)
            if isinstance(module, StageNorm):
                maps.append(x)
        return maps


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.weight.is_meta:
        return  # there is nothing to fill; and arithmetic without numbers has torch import its compiler, for 2 s
    if isinstance(module, nn.Linear):
        with torch.no_grad():  # normal numbers out of uniform ones, by the inverse of their distribution; none beyond 2
            module.weight.uniform_(-1.0, 1.0).erfinv_().mul_(0.02 * math.sqrt(2.0)).clamp_(-2.0, 2.0)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        assert module.bias is not None
        nn.init.zeros_(module.bias)


_WIDE = (64, 128, 320, 512)
OUTLINES: dict[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int]]] = {
    "mit_b0": ((32, 64, 160, 256), (2, 2, 2, 2)),  # 3.3 M parameters without the classifier
    "mit_b1": (_WIDE, (2, 2, 2, 2)),  # 13.2 M
    "mit_b2": (_WIDE, (3, 4, 6, 3)),  # 24.2 M
    "mit_b3": (_WIDE, (3, 4, 18, 3)),  # 44.1 M
    "mit_b4": (_WIDE, (3, 8, 27, 3)),  # 60.8 M
    "mit_b5": (_WIDE, (3, 6, 40, 3)),  # 81.4 M
}
"""Channels and numbers of blocks of the four stages, by the names of the networks (SegFormer, Table 6)."""
OWN_STRIDES = (4, 8, 16, 32)
"""Pixels per cell of their maps."""


def build_mit(name: str, *, drop_path: float = 0.0, bands: int = 3) -> MixTransformer:
    """Build an encoder; it takes images of any size.

    Args:
        name: One of `OUTLINES`.
        drop_path: Stochastic depth of the last block, in [0, 1).
        bands: Bands of the images.

    Returns:
        The network without its classifier, with random weights.
    """
    network = MixTransformer(*OUTLINES[name], in_chans=bands, drop_path_rate=drop_path)
    del network.head  # only now: a seed gives the stages the numbers that it gives them in the whole network
    return network
