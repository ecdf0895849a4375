"""The configuration of the segmentation network. Plain data: importing it loads neither torch nor timm."""

from __future__ import annotations

from dataclasses import dataclass

from pgpc.runtime.checks import check

ARCHITECTURES = ("daformer", "hrda", "deeplabv2")
"""Known values of ``ModelConfig.architecture``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """What :func:`pgpc.models.build_model` builds.

    Raises:
        ValueError: a field is outside its range.
    """

    architecture: str = "daformer"
    """Decoder family; one of `ARCHITECTURES`."""
    encoder: str = "mit_b5"
    """Name of a timm backbone with feature maps at strides 4, 8, 16, 32; "mit_b0".."mit_b5" included. For "deeplabv2"
    one that can be dilated to stride 8, such as "resnet101". Checked when the network is built."""
    num_classes: int = 19
    """C, the number of classes of the classifier, in [2, 255]: label 255 means "ignore"."""
    head_channels: int = 256
    """Width of the decoder's embeddings and of its fusion, at least 1."""
    dropout: float = 0.1
    """Probability, in [0, 1), of dropping a whole channel before the classifier."""
    drop_path: float = 0.1
    """Stochastic depth of the last encoder block, in [0, 1); rises linearly from 0 at the first."""
    detail_crop: int | None = None
    """Side of the high-resolution crop of "hrda" in pixels; None for architectures with one scale."""
    detail_weight: float = 0.1
    """Share of the loss, in [0, 1], that the high-resolution crop by itself has in "hrda"."""
    checkpointing: bool = False
    """Compute the encoder's activations again in the backward pass instead of keeping them: less memory, more time."""
    pretrained: str = ""
    """File with encoder weights; empty for random initialization."""

    def __post_init__(self) -> None:
        check(
            self.architecture in ARCHITECTURES,
            f"model.architecture must be one of {', '.join(map(repr, ARCHITECTURES))}",
            self.architecture,
        )
        check(self.encoder != "", "model.encoder must name a timm backbone", self.encoder)
        check(2 <= self.num_classes <= 255, "model.num_classes must lie in [2, 255]", self.num_classes)
        check(self.head_channels >= 1, "model.head_channels must be at least 1", self.head_channels)
        check(0 <= self.dropout < 1, "model.dropout must lie in [0, 1)", self.dropout)
        check(0 <= self.drop_path < 1, "model.drop_path must lie in [0, 1)", self.drop_path)
        check(0 <= self.detail_weight <= 1, "model.detail_weight must lie in [0, 1]", self.detail_weight)
        if self.architecture == "hrda":
            check(
                self.detail_crop is not None and self.detail_crop >= 32 and self.detail_crop % 16 == 0,
                "model.detail_crop must be a multiple of 16, and at least 32, for architecture 'hrda'",
                self.detail_crop,
                "The paper of HRDA uses 512, half of data.crop.",
            )
        else:
            check(
                self.detail_crop is None,
                f"model.detail_crop must be None for architecture {self.architecture!r}, which has one scale",
                self.detail_crop,
            )
