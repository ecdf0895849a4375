"""Mix Transformer (MiT), the encoder of SegFormer, as timm models ``mit_b0`` .. ``mit_b5``.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021. Parameter names equal those of SegFormer's ImageNet files.

Shapes: B batch, H and W height and width of a stage, C its channels. Inside a stage maps are (B, H, W, C),
since linear layers and layer norms want channels last; only convolutions see a permuted view. Each stage ends
in a norm that returns (B, C, H, W). The children of the network are therefore a plain chain, which timm's
``features_only`` cuts at ``norm1`` .. ``norm4`` without renaming a parameter.

Importing this module registers the models with timm.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.drop import DropPath
from timm.layers.weight_init import trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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
    """MiT as a classifier; ``timm.create_model(name, features_only=True)`` makes an encoder of it.

    Args:
        embed_dims: Channels of the four stages, multiples of the 1, 2, 5 and 8 attention heads.
        depths: Number of blocks of the four stages.
        in_chans: Channels of the images.
        num_classes: Outputs of the classifier; 0 returns the pooled features.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 over all blocks.
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
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = embed_dims[-1]
        self.feature_info: list[dict[str, Any]] = []
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
            self.feature_info.append({"num_chs": dim, "reduction": 4 * 2**i, "module": f"norm{i + 1}"})
        self.head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()
        self.apply(_init_weights)

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute features ``(B, C, ~H/32, ~W/32)`` of the last stage from images ``(B, in_chans, H, W)``."""
        for name, module in self.named_children():
            if name != "head":
                x = module(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Compute class logits of the last stage's features.

        Args:
            x: Features ``(B, C, h, w)``.
            pre_logits: Whether to stop before the classifier.

        Returns:
            Class logits ``(B, num_classes)``, or the pooled features ``(B, C)``.
        """
        x = x.mean(dim=(2, 3))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Compute class logits ``(B, num_classes)`` of images ``(B, in_chans, H, W)``, H and W at least 29."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (part of timm's model interface)."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one (part of timm's model interface)."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed1.proj",
        "classifier": "head",
        "fixed_input_size": False,
    }


# Without urls: the ImageNet weights are under a license of their own and are loaded from a file the user has.
OWN = tuple(f"mit_b{i}" for i in range(6))
"""The names that these networks have among timm's. They take images of any size."""
OWN_STRIDES = (4, 8, 16, 32)
"""Pixels per cell of their maps."""
default_cfgs = generate_default_cfgs({name: _cfg() for name in OWN})


def _create(
    variant: str,
    pretrained: bool,
    embed_dims: tuple[int, int, int, int],
    depths: tuple[int, int, int, int],
    **kwargs: Any,
) -> MixTransformer:
    return build_model_with_cfg(
        MixTransformer,
        variant,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3)},
        embed_dims=embed_dims,
        depths=depths,
        **kwargs,
    )


@register_model
def mit_b0(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B0, with 3.3 M parameters without the classifier."""
    return _create("mit_b0", pretrained, (32, 64, 160, 256), (2, 2, 2, 2), **kwargs)


@register_model
def mit_b1(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B1, with 13.2 M parameters without the classifier."""
    return _create("mit_b1", pretrained, (64, 128, 320, 512), (2, 2, 2, 2), **kwargs)


@register_model
def mit_b2(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B2, with 24.2 M parameters without the classifier."""
    return _create("mit_b2", pretrained, (64, 128, 320, 512), (3, 4, 6, 3), **kwargs)


@register_model
def mit_b3(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B3, with 44.1 M parameters without the classifier."""
    return _create("mit_b3", pretrained, (64, 128, 320, 512), (3, 4, 18, 3), **kwargs)


@register_model
def mit_b4(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B4, with 60.8 M parameters without the classifier."""
    return _create("mit_b4", pretrained, (64, 128, 320, 512), (3, 8, 27, 3), **kwargs)


@register_model
def mit_b5(pretrained: bool = False, **kwargs: Any) -> MixTransformer:
    """Make MiT-B5, with 81.4 M parameters without the classifier."""
    return _create("mit_b5", pretrained, (64, 128, 320, 512), (3, 6, 40, 3), **kwargs)
