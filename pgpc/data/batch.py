"""The images of one step, and what a base decides about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.data.scaled_crops import ScaledCrops


class SourceImages(NamedTuple):
    """Labeled images of a step.

    Attributes:
        images: ``(B, 3, H, W)`` float32, normalized.
        labels: ``(B, H, W)`` int64 train ids, IGNORE_INDEX on padding.
    """

    images: Tensor
    labels: Tensor


class TargetImages(NamedTuple):
    """Unlabeled images of a step.

    Attributes:
        images: ``(B, 3, H, W)`` float32, normalized.
        valid: ``(B, H, W)`` bool, True where a pixel is neither padding nor in the margins of the image
            (``data.target_margins``).
    """

    images: Tensor
    valid: Tensor


class Batch(NamedTuple):
    """One process's share of a step. The fields of a domain of which the step takes no image are None.

    H and W are ``data.crop``; without crops the height and width of ``data.source_size`` or ``data.target_size``.

    Attributes:
        source_images: ``(B, 3, H, W)`` float32, normalized.
        source_labels: ``(B, H, W)`` int64 train ids, IGNORE_INDEX on padding.
        target_images: As the source's.
        target_valid: ``(B, H, W)`` bool, see :class:`TargetImages`.
        labeled_images: Images of the target that are used with their labels, ``data.target_labels``; as the source's.
        labeled_labels: As the source's.
        scaled_images: In steps for which ``BatchPlan.target_scales`` has some, crops of the target images, which are
            themselves whole then; see :class:`ScaledCrops`.
        scaled_rows: See there.
        scaled_columns: See there.
        scaled_native: See there.
    """

    source_images: Tensor | None
    source_labels: Tensor | None
    target_images: Tensor | None
    target_valid: Tensor | None
    labeled_images: Tensor | None = None
    labeled_labels: Tensor | None = None
    scaled_images: Tensor | None = None
    scaled_rows: Tensor | None = None
    scaled_columns: Tensor | None = None
    scaled_native: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device."""
        return Batch(*(None if field is None else field.to(device, non_blocking=True) for field in self))

    def require_source(self) -> SourceImages:
        """Return the labeled images of a step that takes some."""
        assert self.source_images is not None and self.source_labels is not None, "the step takes no source image"
        return SourceImages(self.source_images, self.source_labels)

    def require_target(self) -> TargetImages:
        """Return the unlabeled images of a step that takes some."""
        assert self.target_images is not None and self.target_valid is not None, "the step takes no target image"
        return TargetImages(self.target_images, self.target_valid)

    def require_labeled(self) -> SourceImages:
        """Return the target images of a step that takes some with labels; they are what the source's are."""
        assert self.labeled_images is not None and self.labeled_labels is not None, "the step takes no target label"
        return SourceImages(self.labeled_images, self.labeled_labels)

    def require_scaled(self) -> ScaledCrops:
        """Return the crops of the target images of a step that takes some."""
        assert self.scaled_images is not None and self.scaled_rows is not None, "the step takes no scaled crop"
        assert self.scaled_columns is not None and self.scaled_native is not None, "a crop has all of its parts"
        return ScaledCrops(self.scaled_images, self.scaled_rows, self.scaled_columns, self.scaled_native)


class BatchPlan(NamedTuple):
    """What a base decides about the images of a step.

    Attributes:
        images_per_step: From the step (0-based) to the numbers of source and target images over all processes.
        source_row: From the step and the place in the global batch to the row of the source image; None, also as an
            answer, leaves the choice to the loader. It is not asked with ``data.rare_class_sampling``.
        target_scales: From the step to the least and the largest multiple of their native size that target images are
            also shown at, in crops of ``data.crop`` or, without, of ``data.target_size``. The images themselves are
            then whole, squashed into ``data.target_size``. None, also as an answer, is for no such crops.
    """

    images_per_step: Callable[[int], tuple[int, int]]
    source_row: Callable[[int, int], int | None] | None = None
    target_scales: Callable[[int], tuple[float, float] | None] | None = None
