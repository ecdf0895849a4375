"""The configuration of the data: where images come from, how they reach the network, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pgpc.data.streets.generator import StreetsConfig
from pgpc.runtime.checks import check

STREETS_SOURCE = "streets:source"
STREETS_TARGET = "streets:target"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where images come from and how they reach the network."""

    source: str = STREETS_SOURCE
    """Folder of packed shards of the labeled domain, or its address on S3 (s3://..); or "streets:source", one side of
    the embedded pair."""
    target: str = STREETS_TARGET
    """The same of the unlabeled domain, with its train split and the one that is scored; or "streets:target"."""
    eval_split: str | None = "val"
    """Labeled split of the target that is scored; None scores nothing, for a target without labels."""
    streets: StreetsConfig = field(default_factory=StreetsConfig)
    """Size and seed of the embedded pair; used only where source or target name it."""
    source_size: tuple[int, int] = (1280, 720)
    """Width and height of the box that source images are resized to; `fit` says how."""
    target_size: tuple[int, int] = (1024, 512)
    """The same for target images, in training and in evaluation."""
    fit: Literal["inside", "exact"] = "inside"
    """How an image meets its box: inside it with its aspect ratio kept, or squashed to exactly its size (ProCA)."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How images are resized; labels always take the nearest pixel."""
    crop: int | None = 512
    """Side of the square training crop in pixels; None trains on whole images."""
    target_margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows and columns at the top, bottom, left and right of a target image, after resizing and before cropping, whose
    pseudo-labels get weight 0 (HRDA; `adaptation.ignore_top` and `ignore_bottom` mean the rows of a crop instead)."""
    crop_max_share: float = 0.75
    """A source crop in which one class covers this share or more is redrawn, up to 10 times; 1 turns it off."""
    rare_class_sampling: bool = True
    """Draw source images by class, rare classes more often (DAFormer, section "Rare Class Sampling")."""
    rare_class_temperature: float = 0.01
    """Temperature T of P(c) = softmax((1 - f_c) / T); smaller means rarer classes are drawn more often."""
    rare_class_min_pixels: int = 3000
    """An image is in the pool of class c when it holds more than this many pixels of c at native size."""
    rare_class_min_crop_ratio: float = 0.5
    """A crop drawn for class c must hold more than this times `rare_class_min_pixels`; up to 10 redraws."""
    loader_workers: int = 4
    """Processes that decode images beside the training process; 0 decodes in the training process."""

    def __post_init__(self) -> None:
        for name in ("source_size", "target_size"):
            size = getattr(self, name)
            check(
                len(size) == 2 and min(size) >= 32,
                f"data.{name} must be (width, height), each at least 32",
                size,
            )
        check(
            self.crop is None or (self.crop >= 32 and self.crop % 32 == 0),
            "data.crop must be a positive multiple of 32 (the encoder's coarsest stride), or None",
            self.crop,
        )
        check(
            self.crop is not None or self.fit == "exact",
            "data.crop=None needs data.fit='exact', since the whole images of a batch must have one size",
            self.fit,
        )
        check(
            min(self.target_margins) >= 0
            and self.target_margins[0] + self.target_margins[1] < self.target_size[1]
            and self.target_margins[2] + self.target_margins[3] < self.target_size[0],
            "data.target_margins must be (top, bottom, left, right), each >= 0, and leave pixels of data.target_size",
            self.target_margins,
        )
        check(0 < self.crop_max_share <= 1, "data.crop_max_share must lie in (0, 1]", self.crop_max_share)
        check(self.rare_class_temperature > 0, "data.rare_class_temperature must be > 0", self.rare_class_temperature)
        check(self.rare_class_min_pixels >= 0, "data.rare_class_min_pixels must be >= 0", self.rare_class_min_pixels)
        check(
            self.rare_class_min_crop_ratio >= 0,
            "data.rare_class_min_crop_ratio must be >= 0",
            self.rare_class_min_crop_ratio,
        )
        check(self.loader_workers >= 0, "data.loader_workers must be >= 0", self.loader_workers)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How an image is segmented when it is scored."""

    window: int | None = None
    """Side of the square windows that an image is segmented in; None takes it as a whole."""
    window_stride: int = 512
    """Pixels between neighboring windows; the last is moved inwards, and logits are averaged where windows overlap."""
    window_batch: int = 1
    """Windows that go through the network at once: more are faster and take more memory."""

    def __post_init__(self) -> None:
        check(
            self.window is None or (self.window >= 32 and self.window % 32 == 0),
            "evaluation.window must be a positive multiple of 32, or None",
            self.window,
        )
        check(
            self.window_stride >= 1 and self.window_stride <= (self.window or self.window_stride),
            f"evaluation.window_stride must lie in [1, evaluation.window] ({self.window}), or pixels are left out",
            self.window_stride,
        )
        check(self.window_batch >= 1, "evaluation.window_batch must be >= 1", self.window_batch)
