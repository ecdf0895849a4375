"""The configuration of the segmentation network. Plain data: importing it loads neither torch nor timm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.fields import Phase, check_fields, documented, key

Architecture = Literal["daformer", "hrda", "deeplabv2", "vit_light", "pyramid"]

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
"""Known values of ``ModelConfig.architecture``."""
IMAGENET = "imagenet"
"""Value of ``ModelConfig.pretrained`` that stands for the weights that the encoder was published with."""
STREETS = "streets"
"""Value of ``ModelConfig.pretrained`` that stands for the weights of the embedded pair, which come with the package."""
HUB_PREFIX = "hf:"
"""What a value of ``ModelConfig.pretrained`` begins with that names a repository on the Hugging Face hub."""


def is_weights_name(pretrained: str) -> bool:
    """Return whether a value of ``ModelConfig.pretrained`` is a name, which holds on every machine, and no file."""
    return pretrained in (IMAGENET, STREETS) or pretrained.startswith(HUB_PREFIX)


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """What :func:`pgpc.models.build_model` builds."""

    architecture: Architecture = key(
        "daformer",
        doc='Decoder family; "vit_light" is that of VFM-UDA, for plain vision transformers, '
        '"pyramid" that of VFM-UDA++.',
        phase=Phase.START,
    )
    encoder: str = key(
        "mit_b5",
        doc='Name of a timm backbone with feature maps at strides 4, 8, 16, 32; "mit_b0".."mit_b5" included, or of '
        'a plain vision transformer, such as "vit_base_patch14_dinov2"; the tag of its weights may stand behind a dot. '
        'For "deeplabv2" one that can be dilated to stride 8, such as "resnet101". Checked when the network is built.',
        phase=Phase.START,
    )
    image_scale: float = key(
        1.0,
        doc="What a plain vision transformer enlarges images by before it cuts them into patches, rounded down to "
        "whole patches; 1 rounds up. The maps lie on the pixels as they were.",
        low=1,
        high=4,
        phase=Phase.START,
        source="VFM-UDA",
    )
    num_classes: int = key(
        19,
        doc='C, the number of classes of the classifier: label 255 means "ignore".',
        low=2,
        high=255,
        unit="classes",
        remedy="To find one class, have two: that class and all else.",
        phase=Phase.START,
    )
    head_channels: int = key(
        256,
        doc="Width of the decoder's embeddings and of its fusion.",
        low=1,
        rule="must be at least {low}",
        unit="channels",
        phase=Phase.START,
    )
    dropout: float = key(
        0.1,
        doc="Probability of dropping a whole channel before the classifier.",
        low=0,
        below=1,
        phase=Phase.START,
    )
    drop_path: float = key(
        0.1,
        doc="Stochastic depth of the last encoder block; rises linearly from 0 at the first.",
        low=0,
        below=1,
        phase=Phase.START,
    )
    detail_crop: int | None = key(
        None,
        doc='Side of the high-resolution crop of "hrda"; None for architectures with one scale.',
        low=32,
        multiple_of=16,
        unit="pixels",
        phase=Phase.START,
        source="HRDA",
    )
    detail_weight: float = key(
        0.1,
        doc='Share of the loss that the high-resolution crop by itself has in "hrda".',
        low=0,
        high=1,
        phase=Phase.START,
        source="HRDA",
    )
    finetuning: Literal["whole", "frozen", "lora"] = key(
        "whole",
        doc='What of the encoder is trained: "whole", all of it, at `optimizer.lr`; "frozen", nothing, so that only '
        'what is new learns; "lora", low-rank matrices beside its linear layers, at `optimizer.lora_factor` times that '
        "rate, which an export merges into the layers (needs pgpc[lora]). What is not trained is in no checkpoint "
        "where `pretrained` names its weights, from which it is then read again.",
        phase=Phase.START,
    )
    lora_rank: int = key(
        16,
        doc="Rank of these matrices.",
        low=1,
        phase=Phase.START,
        source="LoRA",
    )
    checkpointing: bool = key(
        False,
        doc="Compute the encoder's activations again in the backward pass instead of keeping them: less memory, more "
        "time.",
        phase=Phase.NEVER,
        reported=True,
    )
    pretrained: str | None = key(
        None,
        doc="The initial weights: \"imagenet\", those that the encoder was published with (NVIDIA's of MiT, timm's of "
        'other backbones), "hf:owner/name" or "hf:owner/name@revision", a repository on the Hugging Face hub, '
        '"streets", the small network of the embedded pair that comes with the package, a file, '
        "or the folder of a run. What has a decoder that fits gives that too, with its classifier where the classes "
        "are the same. None for random ones.",
        phase=Phase.START,
        place=True,
    )

    @property
    def leaves_out(self) -> bool:
        """Whether checkpoints lack what of the encoder is not trained."""
        return self.finetuning != "whole" and self.pretrained is not None

    @all_at_once()
    def __post_init__(self) -> None:
        if self.pretrained == "":  # as files of earlier versions have it
            object.__setattr__(self, "pretrained", None)
        if not check_fields(self, "model"):
            return
        check(self.encoder != "", "model.encoder must name a timm backbone", self.encoder)
        if self.architecture == "hrda":
            check(
                self.detail_crop is not None,
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
