"""The segmentation network: an encoder and a decode head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from pgpc.models.token_masks import TokenMask

STRIDES = (4, 8, 16, 32)
"""Pixels per cell of the four feature maps of an encoder, unless it is dilated."""


class Decoded(NamedTuple):
    """What a decoder gives.

    Attributes:
        logits: Logits ``(B, C, ~H/4, ~W/4)``; of DeepLabV2 ``(B, C, ~H/8, ~W/8)``.
        detail: Logits ``(B, C, side/4, side/4)`` of the high-resolution crop alone; None where there is none.
    """

    logits: Tensor
    detail: Tensor | None


class Segmenter(nn.Module):
    """A network that computes class logits of images at stride 4, from one scale.

    Subclasses with another decoder or with several scales override the methods.

    Args:
        encoder: Network that maps images ``(B, 3, H, W)`` to four maps ``(B, C_i, ~H/s, ~W/s)``, finest first.
        decode_head: Network that maps these to logits.
        encoder_channels: Channels C_i of the encoder's maps.

    Attributes:
        align_corners: How logits are to be brought bilinearly to the size of labels.
        shortest_side: Least H and W in pixels.
        bands: Bands of the images, 3 unless it was built for others.
    """

    bands = 3
    align_corners = False
    shortest_side = STRIDES[-1]

    def __init__(self, encoder: nn.Module, decode_head: nn.Module, *, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decode_head = decode_head
        self.encoder_channels = tuple(encoder_channels)

    @property
    def last_block(self) -> int:
        """Number of the map of :meth:`encode` that the encoder's last block gives."""
        return int(getattr(self.encoder, "last_block", -1))

    @property
    def projected_channels(self) -> tuple[int, ...]:
        """Channels of the maps that :meth:`projected` gives."""
        return self.encoder_channels

    def context(self, images: Tensor) -> Tensor:
        """Return images ``(B, 3, H, W)`` as :meth:`encode` shows them to the encoder, here unchanged."""
        return images

    def encode(self, images: Tensor, mask: TokenMask | None = None) -> list[Tensor]:
        """Compute the encoder's maps of the images' context.

        Args:
            images: Normalized images ``(B, 3, H, W)``.
            mask: Patches of the context that are hidden from a plain vision transformer, or None.

        Returns:
            Four maps ``(B, C_i, ~H/s, ~W/s)``, finest first.

        Raises:
            ValueError: `images` is not a batch, or a side is shorter than `shortest_side`.
        """
        if images.ndim != 4 or images.shape[1] != self.bands or min(images.shape[2:]) < self.shortest_side:
            raise ValueError(
                f"images must have shape (B, {self.bands}, H, W) with H and W at least {self.shortest_side}, but got "
                f"{tuple(images.shape)}. Add a batch dimension, pad the images, or take those of the right bands."
            )
        # By name, since what normalizes and pads images in front of an encoder takes nothing but images.
        maps: list[Tensor] = self.encoder(self.context(images), **({} if mask is None else {"mask": mask}))
        return maps

    def projected(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return, of the maps of :meth:`encode`, those that a projection head reads; here all."""
        return features

    def decode(self, features: Sequence[Tensor], images: Tensor, box: tuple[int, int] | None = None) -> Decoded:
        """Compute logits of the encoder's maps.

        Args:
            features: Maps that :meth:`encode` gave for `images`.
            images: Normalized images ``(B, 3, H, W)``; read by networks with several scales only.
            box: Top and left of the high-resolution crop in pixels, for networks that have one.
        """
        return Decoded(self.decode_head(features), None)

    def segment(self, images: Tensor) -> Tensor:
        """Compute logits at the stride of the classifier, to be resized just once.

        Args:
            images: Normalized images ``(B, 3, H, W)``.

        Returns:
            ``(B, C, ~H/s, ~W/s)`` with the stride s of :meth:`decode`'s logits.

        Raises:
            ValueError: `images` is not a batch, or a side is shorter than `shortest_side`.
        """
        return self.decode(self.encode(images), images).logits

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``(B, C, ~H/4, ~W/4)`` of normalized images ``(B, 3, H, W)``, as :meth:`segment` does."""
        return self.segment(images)
