"""HRDA: context from the image at half size, detail from crops at full size, fused by a learned attention.

Source: Hoyer et al., "HRDA: Context-Aware High-Resolution Domain-Adaptive Semantic Segmentation", ECCV 2022, the
sections on multi-resolution fusion and on overlapping slides. Module names equal those of its checkpoints. LR stands
for low resolution (scale 0.5), HR for high resolution (scale 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgpc.models.daformer import ConvBNReLU, DAFormerHead, same_size_conv
from pgpc.models.segmenter import STRIDES, Decoded, Segmenter
from pgpc.runtime.precision import at_least_float32

_LR_STRIDE = 2 * STRIDES[0]  # 8 pixels of the image per cell of the LR logits; boxes lie on this grid


def draw_detail_box(rng: np.random.Generator, size: tuple[int, int], side: int) -> tuple[int, int]:
    """Draw the place of the high-resolution crop, one for a whole batch.

    It is uniform in {0, 8, .., size - side - 8} along each axis: the very last position is never drawn, as in the code
    that its authors published. The first is the only one where there is no room for two.

    Args:
        rng: Generator, which draws top first, then left.
        size: Height and width of the images in pixels.
        side: Side of the crop in pixels.

    Returns:
        Top and left in pixels, multiples of 8.

    Raises:
        ValueError: An image is smaller than the crop.
    """
    if min(size) < side:
        raise ValueError(f"images must be at least as large as the detail crop of {side} pixels, but got {size}.")
    top, left = (_LR_STRIDE * int(rng.integers(max((extent - side) // _LR_STRIDE, 1))) for extent in size)
    return top, left


class HRDAHead(nn.Module):
    """The decoder of both scales, and the attention that weighs them.

    Args:
        in_channels: Channels of the feature maps, finest first.
        channels: Width of the embeddings and of the fusion.
        num_classes: C, the channels of the logits.
        dropout: Probability of dropping a whole channel before the classifier, in [0, 1).
    """

    def __init__(self, in_channels: Sequence[int], *, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        make = partial(DAFormerHead, in_channels, channels=channels, num_classes=num_classes, dropout=dropout)
        self.head = make()
        self.scale_attention = make(fusion=lambda fused, out: ConvBNReLU(same_size_conv(fused, out, 1)))

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute LR logits and the share of HR.

        Args:
            features: LR feature maps ``(B, C_i, H_i, W_i)``, finest first.

        Returns:
            Logits, and the share of HR in (0, 1) of every class: ``(B, C, H_1, W_1)`` each.
        """
        return self.logits(features), at_least_float32(self.scale_attention(features)).sigmoid()

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Compute logits ``(B, C, H_1, W_1)`` of feature maps of one scale.

        They are at least float32: scales are fused and crops averaged in full precision also where autocast is on.
        """
        return at_least_float32(self.head(features))


class HRDA(Segmenter):
    """One encoder and one decoder at two scales.

    The context is the whole image at half size; :meth:`encode` gives its features. The detail is, in training, one
    crop at full size, where `box` says. Elsewhere the fused logits are those of the context. Without a box the detail
    is the average logits of overlapping crops over the whole image. These go through the encoder in one batch: for an
    image of 1024 x 1024 and a side of 512 they are 9, so that path wants ``torch.no_grad()``.

    Images are padded with 0, the mean color, at the right and bottom to multiples of 8.

    Args:
        encoder: Network that maps images ``(B, 3, H, W)`` to four maps ``(B, C_i, ~H/s, ~W/s)``, finest first.
        decode_head: Decoder of both scales.
        encoder_channels: Channels C_i of the encoder's maps.
        detail_crop: Side of the crop in pixels, a multiple of 16.
    """

    shortest_side = 2 * STRIDES[-1]
    decode_head: HRDAHead

    def __init__(
        self, encoder: nn.Module, decode_head: HRDAHead, *, encoder_channels: Sequence[int], detail_crop: int
    ) -> None:
        super().__init__(encoder, decode_head, encoder_channels=encoder_channels)
        self.detail_crop = detail_crop

    def context(self, images: Tensor) -> Tensor:
        """Return padded images at half size.

        Args:
            images: Images ``(B, 3, H, W)``.

        Returns:
            ``(B, 3, ceil(H/8) * 4, ceil(W/8) * 4)``.
        """
        images = _pad(images)
        h, w = images.shape[2:]
        return F.interpolate(images, size=(h // 2, w // 2), mode="bilinear", align_corners=False)

    def decode(self, features: Sequence[Tensor], images: Tensor, box: tuple[int, int] | None = None) -> Decoded:
        """Compute fused logits of the features of the context and of the detail.

        Args:
            features: Maps that :meth:`encode` gave for `images`.
            images: Normalized images ``(B, 3, H, W)``, which the detail is cut from.
            box: Top and left of the one crop in pixels, multiples of 8 as :func:`draw_detail_box` gives; None slides
                crops over the whole image.

        Returns:
            Logits ``(B, C, ceil(H/4), ceil(W/4))``; with a box also those of the crop alone.

        Raises:
            ValueError: The box is off the grid, or the crop leaves the image.
        """
        low, attention = self.decode_head(features)
        h, w = images.shape[2:]
        detail = None
        if box is None:
            high = self._slide(_pad(images))
        else:
            self._check(box, (h, w))
            (top, left), side = box, self.detail_crop
            detail = self.decode_head.logits(self.encoder(images[:, :, top : top + side, left : left + side]))
            high = _frame(detail, box, STRIDES[0], (2 * low.shape[2], 2 * low.shape[3]))
            # Before upsampling, as published: at the border of the box both scales then fade into each other.
            (y, x), cells = (top // _LR_STRIDE, left // _LR_STRIDE), side // _LR_STRIDE
            inside = attention[:, :, y : y + cells, x : x + cells]
            attention = _frame(inside, box, _LR_STRIDE, (low.shape[2], low.shape[3]))
        fused = _fuse(attention, low, high)
        return Decoded(fused[:, :, : -(-h // STRIDES[0]), : -(-w // STRIDES[0])], detail)

    def segment_windows(
        self,
        image: Tensor,
        corners: Sequence[tuple[int, int]],
        size: tuple[int, int],
        known: dict[tuple[int, int], Tensor],
    ) -> Tensor:
        """Compute the logits of windows of one image as :meth:`segment` does, those of crops in several only once.

        Of the 27 crops in the windows of a Cityscapes image 6 are there twice. The network must be in evaluation mode,
        in which the logits of a crop do not depend on the others.

        Args:
            image: One normalized image ``(1, 3, H, W)``.
            corners: Top and left of K windows in pixels.
            size: Height h and width w of all windows in pixels.
            known: Logits of crops by their top and left in the image, at first none; those of new crops are added.

        Returns:
            ``(K, C, ceil(h/4), ceil(w/4))``.
        """
        assert not self.training, "batch statistics would be those of the crops that are left"
        h, w = size
        windows = torch.cat([image[:, :, top : top + h, left : left + w] for top, left in corners])
        if h % _LR_STRIDE or w % _LR_STRIDE:  # the padding of one window covers pixels that another one shows
            return self.segment(windows)
        places = [(y, x) for y in self._starts(h) for x in self._starts(w)]
        shown = [[(top + y, left + x) for y, x in places] for top, left in corners]
        new = sorted({corner for window in shown for corner in window} - known.keys())
        if new:
            known.update(zip(new, self._crops(image, new, size).split(1), strict=True))
        high = [self._average([known[corner] for corner in window], places, size) for window in shown]
        low, attention = self.decode_head(self.encode(windows))
        return _fuse(attention, low, torch.cat(high))

    def _check(self, box: tuple[int, int], size: tuple[int, int]) -> None:
        inside = all(0 <= start <= extent - self.detail_crop for start, extent in zip(box, size, strict=True))
        if not inside or any(start % _LR_STRIDE for start in box):
            raise ValueError(
                f"box must be (top, left), multiples of {_LR_STRIDE}, of a crop of side {self.detail_crop} inside "
                f"the image of {size}, but got {box}. draw_detail_box gives such boxes."
            )

    def _slide(self, images: Tensor) -> Tensor:
        """Average logits of overlapping crops, ``(B, C, H/4, W/4)``, over images whose sides are multiples of 8."""
        b, _, h, w = images.shape
        places = [(y, x) for y in self._starts(h) for x in self._starts(w)]
        return self._average(self._crops(images, places, (h, w)).split(b), places, (h, w))

    def _crops(self, images: Tensor, corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
        """Compute logits of crops of at most `size` in one batch, ``(K * B, C, h/4, w/4)``, by corner."""
        h, w = (min(self.detail_crop, extent) for extent in size)
        crops = torch.cat([images[:, :, y : y + h, x : x + w] for y, x in corners])
        return self.decode_head.logits(self.encoder(crops))

    @staticmethod
    def _average(parts: Sequence[Tensor], places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
        """Average the logits ``(B, C, h/4, w/4)`` of crops at their places over an image, ``(B, C, H/4, W/4)``."""
        total = parts[0].new_zeros(*parts[0].shape[:2], size[0] // STRIDES[0], size[1] // STRIDES[0])
        count = total.new_zeros(total.shape[2:])
        for (y, x), part in zip(places, parts, strict=True):
            top, left = y // STRIDES[0], x // STRIDES[0]
            rows, columns = slice(top, top + part.shape[2]), slice(left, left + part.shape[3])
            total[:, :, rows, columns] += part
            count[rows, columns] += 1
        return total / count

    def _starts(self, extent: int) -> list[int]:
        """Return where crops begin along an axis of `extent` pixels: each half side, the last one shifted inwards."""
        last = max(extent - self.detail_crop, 0)
        return [*range(0, last, self.detail_crop // 2), last]


def _fuse(attention: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Fuse the logits of both scales by the share of HR.

    Args:
        attention: Share of HR ``(B, C, h, w)``.
        low: LR logits ``(B, C, h, w)``.
        high: HR logits ``(B, C, 2h, 2w)``.

    Returns:
        ``(B, C, 2h, 2w)``.
    """
    return _double(attention) * high + _double((1 - attention) * low)


def _pad(images: Tensor) -> Tensor:
    """Pad images with 0 at the right and bottom, to multiples of 8."""
    h, w = images.shape[2:]
    return F.pad(images, (0, -w % _LR_STRIDE, 0, -h % _LR_STRIDE))


def _frame(x: Tensor, box: tuple[int, int], stride: int, size: tuple[int, int]) -> Tensor:
    """Put the map of a crop ``(B, C, h, w)``, of `stride`, at its place among zeros, ``(B, C, *size)``."""
    top, left = box[0] // stride, box[1] // stride
    return F.pad(x, (left, size[1] - left - x.shape[3], top, size[0] - top - x.shape[2]))


def _double(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return F.interpolate(x, size=(2 * h, 2 * w), mode="bilinear", align_corners=False)
