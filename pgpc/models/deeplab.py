"""DeepLabV2: a dilated convolutional encoder and parallel dilated classifiers.

Source: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and
Fully Connected CRFs", TPAMI 2018, in the form that papers on domain adaptation compare with: without CRF.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.segmenter import STRIDES, Decoded, Segmenter

DILATED_STRIDES = (4, 8, 8, 8)
"""Pixels per cell of the four feature maps of the dilated encoder."""

_DILATIONS = (6, 12, 18, 24)


class DeepLabHead(nn.Module):
    """Sum of four 3x3 classifiers, dilated by 6, 12, 18 and 24.

    Args:
        in_channels: Channels of the map that is classified.
        num_classes: C, the channels of the logits.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        classifiers = [
            nn.Conv2d(in_channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in _DILATIONS
        ]
        for classifier in classifiers:
            nn.init.normal_(classifier.weight, std=0.01)
            assert classifier.bias is not None
            nn.init.zeros_(classifier.bias)
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(B, C_in, H, W)`` to logits ``(B, C, H, W)``."""
        first, *others = (classifier(x) for classifier in self.classifiers)
        logits: Tensor = sum(others, first)
        return logits


class DeepLabV2(Segmenter):
    """A dilated encoder and :class:`DeepLabHead`; `head_channels` and `dropout` of the configuration have no meaning.

    The classifier reads the last map, at stride 8, which is therefore the stride of :meth:`decode`'s logits. `forward`
    brings them to stride 4, the size of stage 1, so that all networks give the same size.
    """

    align_corners = True

    @property
    def projected_channels(self) -> tuple[int, ...]:
        """Channels of the last map alone."""
        return self.encoder_channels[-1:]

    def projected(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return, of the maps of :meth:`encode`, the one that the classifier reads: the last, at stride 8."""
        return (features[-1],)

    def decode(self, features: Sequence[Tensor], images: Tensor, box: tuple[int, int] | None = None) -> Decoded:
        """Compute logits ``(B, C, ~H/8, ~W/8)`` of the maps of :meth:`encode`; `images` and `box` are not read."""
        return Decoded(self.decode_head(features[-1]), None)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``(B, C, ~H/4, ~W/4)`` of images ``(B, 3, H, W)``, as every :class:`Segmenter` does."""
        # Rounded up without a negative number, which ONNX divides otherwise than Python.
        size = [(extent + STRIDES[0] - 1) // STRIDES[0] for extent in images.shape[2:]]
        return F.interpolate(self.segment(images), size=size, mode="bilinear", align_corners=True)
