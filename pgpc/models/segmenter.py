"""The segmentation network: an encoder and a decode head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)
"""Pixels per cell of the four feature maps of an encoder, unless it is dilated."""


class Decoded(NamedTuple):
    """What a decoder gives.

    Attributes:
        logits: (B, C, ~H/4, ~W/4); of DeepLabV2 (B, C, ~H/8, ~W/8).
        detail: (B, C, side/4, side/4), logits of the high-resolution crop alone; None where there is none.
    """

    logits: Tensor
    detail: Tensor | None


class Segmenter(nn.Module):
    """Images -> class logits at stride 4, from one scale.

    Subclasses with another decoder or with several scales override the methods.

    Attributes:
        encoder: images (B, 3, H, W) -> [stage1, .., stage4], maps (B, C_i, ~H/s, ~W/s), finest first.
        decode_head: maps of the encoder -> logits.
        encoder_channels: (C_1, C_2, C_3, C_4), channels of the encoder's maps.
        projected_channels: channels of the maps that :meth:`projected` gives.
        align_corners: how logits are to be brought bilinearly to the size of labels.
        shortest_side: H and W are at least this, in pixels.
    """

    align_corners = False
    shortest_side = STRIDES[-1]

    def __init__(self, encoder: nn.Module, decode_head: nn.Module, *, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decode_head = decode_head
        self.encoder_channels = tuple(encoder_channels)

    @property
    def projected_channels(self) -> tuple[int, ...]:
        return self.encoder_channels

    def context(self, images: Tensor) -> Tensor:
        """The images as :meth:`encode` shows them to the encoder; (B, 3, H, W), here unchanged."""
        return images

    def encode(self, images: Tensor) -> list[Tensor]:
        """Normalized images (B, 3, H, W) -> the encoder's four maps of their context, finest first.

        Raises:
            ValueError: `images` is not a batch, or a side is shorter than `shortest_side`.
        """
        if images.ndim != 4 or min(images.shape[2:]) < self.shortest_side:
            raise ValueError(
                f"images must have shape (B, 3, H, W) with H and W at least {self.shortest_side}, but got "
                f"{tuple(images.shape)}. Add a batch dimension or pad the images."
            )
        return self.encoder(self.context(images))

    def projected(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Of the maps of :meth:`encode`, those that a projection head reads; here all."""
        return features

    def decode(self, features: Sequence[Tensor], images: Tensor, box: tuple[int, int] | None = None) -> Decoded:
        """Maps of :meth:`encode`, and the images (B, 3, H, W) that they are of -> logits.

        Args:
            features: what :meth:`encode` gave for `images`.
            images: normalized; read by networks with several scales only.
            box: (top, left) in pixels of the high-resolution crop, for networks that have one.
        """
        return Decoded(self.decode_head(features), None)

    def segment(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits at the stride of the classifier, to be resized just once.

        Raises:
            ValueError: `images` is not a batch, or a side is shorter than `shortest_side`.
        """
        return self.decode(self.encode(images), images).logits

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, C, ~H/4, ~W/4); raises as :meth:`segment`."""
        return self.segment(images)
