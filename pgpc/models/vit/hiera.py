"""Hiera for images of any size: timm's is made for one.

Source: Ryali et al., "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles", ICML 2023. Its blocks
know nothing of the size; the order of the tokens, which keeps windows together, and the position embeddings do.
"""

from __future__ import annotations

from typing import Any

from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.hiera import Hiera, Reroll, Unroll
from torch import Tensor, nn


class AnySizeHiera(Hiera):
    """timm's Hiera, which orders tokens and interpolates position embeddings for the image that it is shown.

    Sides must be multiples of 32, a window of the first stage.

    Attributes:
        native_tokens: Height and width in tokens that the position embeddings are for.
    """

    native_tokens: list[int]

    def forward_intermediates(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the maps that timm's does."""
        self._fit((x.shape[2], x.shape[3]))
        return super().forward_intermediates(x, *args, **kwargs)

    def _fit(self, size: tuple[int, int]) -> None:
        tokens = [extent // stride for extent, stride in zip(size, self.patch_stride, strict=True)]
        if tokens == self.tokens_spatial_shape:
            return
        self.tokens_spatial_shape = tokens
        self.mask_spatial_shape = [extent // unit for extent, unit in zip(tokens, self.mask_unit_size, strict=True)]
        schedule = [self.q_stride] * (len(self.stage_ends) - 1)
        self.unroll = Unroll(size, self.patch_stride, schedule)
        self.reroll = Reroll(size, self.patch_stride, schedule, self.stage_ends, self.q_pool)

    def _pos_embed(self, x: Tensor) -> Tensor:
        if self.pos_embed is None or self.pos_embed_win is not None:  # the latter timm interpolates itself
            embedded: Tensor = super()._pos_embed(x)
            return embedded
        resampled: Tensor = resample_abs_pos_embed(
            self.pos_embed, self.tokens_spatial_shape, old_size=self.native_tokens, num_prefix_tokens=0
        )
        return x + resampled


def take_any_size(encoder: nn.Module) -> None:
    """Let the Hiera in an encoder of timm, if there is one, take images of any size; nothing else is changed."""
    if isinstance(getattr(encoder, "model", None), Hiera):
        model: Any = encoder.model
        model.native_tokens = list(model.tokens_spatial_shape)
        model.__class__ = AnySizeHiera
