"""Plain vision transformers as encoders: images of any size to the last block's map, or to a pyramid of four.

The pixels of an image and the cells of the maps correspond exactly. A patch of 14 pixels does not divide most sizes:
the image is then stretched to the next multiple, and the maps are stretched back.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.segmenter import STRIDES
from pgpc.models.token_masks import TokenMask, hiding
from pgpc.models.vit.pyramid import Pyramid

SIZES_AT_WILL: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {})
"""Options with which a plain transformer of timm takes images of any size, by family."""


def is_plain(reductions: Sequence[int]) -> bool:
    """Return whether a model whose maps have these numbers of pixels per cell is a plain transformer."""
    return len(set(reductions)) == 1


class PlainEncoder(nn.Module):
    """A vision transformer of timm without its classifier.

    Class and register tokens are left out. The last block's tokens come after the final norm, which some models
    (EVA-02) have behind their pooling. Position embeddings are interpolated, rotary ones computed for the size.

    Args:
        vit: A model of timm, made so that it takes images of any size.
        pyramid: Whether four maps at strides 4 to 32 are made of the last block's; else that is the only one.
        scale: What images are enlarged by before they are cut into patches, rounded down to whole patches; 1 rounds up.

    Attributes:
        vit: The transformer, the only part with published weights.
        pyramid: What makes four maps of one, from random weights; or None.
        patch: Side of a patch in pixels.
        width: D, the channels of the tokens.
        channels: Channels of the maps.
        last_block: Number of the map that has the last block's tokens.
    """

    def __init__(self, vit: nn.Module, *, pyramid: bool, scale: float = 1.0) -> None:
        super().__init__()
        self.vit = _without_head(vit)
        info: Any = vit.feature_info
        self.patch, self.width = int(info[-1]["reduction"]), int(info[-1]["num_chs"])
        self._scale = Fraction(scale).limit_denominator(1000)
        self.pyramid = Pyramid(self.width, self.patch) if pyramid else None
        self.channels = self.pyramid.channels if self.pyramid is not None else (self.width,)
        self.last_block = self.pyramid.level_of_tokens if self.pyramid is not None else 0

    def forward(self, images: Tensor, mask: TokenMask | None = None) -> list[Tensor]:
        """Compute the maps of normalized images.

        Args:
            images: ``(B, 3, H, W)``.
            mask: Patches to be hidden, or None.

        Returns:
            With a pyramid ``(B, C_i, ceil(H/s), ceil(W/s))`` for the strides s of 4, 8, 16, 32, where cell (i, j) shows
            the s x s pixels from (s * i, s * j) on; else ``(B, D, *self.grid((H, W)))``, whose cells divide the image
            evenly.
        """
        if self.pyramid is None:
            return [self._last_block(images, mask)]
        h, w = images.shape[2:]
        images = F.pad(images, (0, -w % STRIDES[-1], 0, -h % STRIDES[-1]))  # 0 is the mean color
        maps = self.pyramid(self._last_block(images, mask), (images.shape[2], images.shape[3]))
        return [x[:, :, : -(-h // s), : -(-w // s)] for x, s in zip(maps, STRIDES, strict=True)]

    def grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the rows and columns of the tokens of images of a size (height, width) in pixels."""
        if self.pyramid is not None:
            size = [extent + -extent % STRIDES[-1] for extent in size]  # to whole cells of all strides
        rows, columns = (self._patches(extent) for extent in size)
        return rows, columns

    def _patches(self, extent: int) -> int:
        """Return how many patches a side of so many pixels is cut into: 80 of 14 for 1024 enlarged by 1.1."""
        if self._scale == 1:
            return -(-extent // self.patch)
        return extent * self._scale.numerator // (self._scale.denominator * self.patch)

    def _last_block(self, images: Tensor, mask: TokenMask | None) -> Tensor:
        """Return the last block's tokens as a map ``(B, D, h, w)`` of images that no row or column is added to."""
        size = [self._patches(extent) * self.patch for extent in images.shape[2:]]
        if tuple(size) != tuple(images.shape[2:]):
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        vit: Any = self.vit
        with hiding(vit, mask):
            tokens: Tensor = vit.forward_intermediates(
                images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
            )[0]
        norm_of_pool = getattr(vit, "fc_norm", None)
        if norm_of_pool is None or isinstance(norm_of_pool, nn.Identity):
            return tokens
        normed: Tensor = norm_of_pool(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


def require_plain(encoder: nn.Module, name: str) -> PlainEncoder:
    """Return an encoder from which patches are to be hidden.

    Args:
        encoder: The encoder.
        name: What timm calls it.

    Raises:
        ValueError: It is no plain vision transformer.
    """
    if not isinstance(encoder, PlainEncoder):
        raise ValueError(
            f"adaptation.mask_unit must be 'block' for an encoder that is no plain vision transformer, but with "
            f"{name!r} it is 'token'. Set adaptation.mask_unit=block, or choose for example 'vit_base_patch14_dinov2'."
        )
    return encoder


def published_entries(encoder: nn.Module, entries: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the entries of a published file by the names that timm has for them.

    timm knows under which names and in which shapes the authors of a family publish it: those of DINOv2 have a mask
    token, for example, which only pretraining needs.

    Args:
        encoder: An encoder; one whose timm model is not kept in one piece changes nothing.
        entries: The tensors of the file.
    """
    model = getattr(encoder, "vit", None) or getattr(encoder, "model", None)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if not isinstance(model, nn.Module) or convert is None:
        return entries
    try:
        converted: Mapping[str, Tensor] = convert(dict(entries), model)
    except Exception:  # of a file that timm does not know it asks for what is not there; its names are compared below
        return entries
    return converted


def _without_head(vit: nn.Module) -> nn.Module:
    """Return the model without what comes behind its tokens, apart from the norm that is applied to them."""
    model: Any = vit
    norm_of_pool = getattr(model, "fc_norm", None)
    model.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    if norm_of_pool is not None:
        model.fc_norm = norm_of_pool
    return vit
