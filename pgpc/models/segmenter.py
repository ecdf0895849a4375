"""The segmentation network: an encoder, any of timm's, and a decode head."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from pgpc.models.config import ModelConfig
from pgpc.models.daformer import DAFormerHead
from pgpc.models.weights import load_encoder

STRIDES = (4, 8, 16, 32)
"""Pixels per cell of the four feature maps of an encoder."""

_HEADS = {"daformer": DAFormerHead}


class Segmenter(nn.Module):
    """Images -> class logits at stride 4.

    Attributes:
        encoder: images (B, 3, H, W) -> [stage1, .., stage4], maps (B, C_i, ~H/s, ~W/s) at strides s = 4 ..
        32. decode_head: the four maps -> logits (B, C, ~H/4, ~W/4).
        encoder_channels: (C_1, C_2, C_3, C_4), channels of the encoder's maps.
    """

    def __init__(self, encoder: nn.Module, decode_head: nn.Module, *, encoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decode_head = decode_head
        self.encoder_channels = tuple(encoder_channels)

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The encoder's feature maps -> logits (B, C, ~H/4, ~W/4)."""
        return self.decode_head(features)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> logits (B, C, ~H/4, ~W/4), the size of stage 1.

        Raises:
            ValueError: `images` is not a batch, or a side is shorter than 32 pixels.
        """
        if images.ndim != 4 or min(images.shape[2:]) < STRIDES[-1]:
            raise ValueError(
                f"images must have shape (B, 3, H, W) with H and W at least {STRIDES[-1]}, but got "
                f"{tuple(images.shape)}. Add a batch dimension or pad the images."
            )
        return self.decode(self.encoder(images))


def build_model(config: ModelConfig) -> Segmenter:
    """Builds the network that `config` describes, in train mode, on the default device.

    Initial weights are drawn from torch's global generator, since neither torch's nor timm's layers take
    another: call ``torch.manual_seed`` first for repeatable ones.
    With `config.pretrained` the encoder's weights come from that file.

    Raises:
        ValueError: timm has no such encoder, or it gives other feature maps than four at strides 4, 8, 16,
            32; or the file of weights does not fit it.
    """
    check_model(config)
    encoder, channels = _build_encoder(config.encoder, config.drop_path)
    decode_head = _HEADS[config.architecture](
        channels, channels=config.head_channels, num_classes=config.num_classes, dropout=config.dropout
    )
    model = Segmenter(encoder, decode_head, encoder_channels=channels)
    if config.pretrained:
        load_encoder(model, config.pretrained)
    return model


def check_model(config: ModelConfig) -> None:
    """Find, without building it, what would keep a network from being built.

    Raises:
        ValueError: timm has no such encoder, or there is no file of its weights.
    """
    # Here and not above: timm takes seconds to import, which only building a network is worth.
    import timm

    import pgpc.models.mit  # noqa: F401  (registers mit_b0 .. mit_b5)

    name = config.encoder
    if config.pretrained and not Path(config.pretrained).is_file():
        raise ValueError(f"model.pretrained must name a file of encoder weights, but got {config.pretrained!r}.")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists the known ones."
        raise ValueError(f"model.encoder must be the name of a timm model, but got {name!r}. {hint}")


def _build_encoder(name: str, drop_path: float) -> tuple[nn.Module, list[int]]:
    import timm

    options = {"drop_path_rate": drop_path} if drop_path > 0 else {}
    try:
        # The last four maps: convolutional networks often have one more at stride 2.
        encoder = timm.create_model(name, features_only=True, out_indices=(-4, -3, -2, -1), **options)
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"model.encoder must give four feature maps, but timm cannot build {name!r} for that with "
            f"options {options}: {error}. Choose another, or set model.drop_path=0 if it has no such option."
        ) from error
    info = encoder.feature_info
    if tuple(info.reduction()) != STRIDES:
        raise ValueError(
            f"model.encoder must give feature maps at strides {STRIDES}, but {name!r} gives "
            f"{tuple(info.reduction())}. Choose a hierarchical backbone, for example 'mit_b5' or 'resnet50'."
        )
    if str(getattr(encoder, "output_fmt", "NCHW")).removeprefix("Format.") != "NCHW":
        raise ValueError(
            f"model.encoder must give feature maps (B, C, H, W), but {name!r} gives {encoder.output_fmt}. "
            "Choose a backbone with channels first, for example 'mit_b5' or 'resnet50'."
        )
    return encoder, info.channels()
