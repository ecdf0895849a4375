"""From a configuration to the network that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgpc.models.config import ModelConfig
from pgpc.models.daformer import DAFormerHead
from pgpc.models.deeplab import DILATED_STRIDES, DeepLabHead, DeepLabV2
from pgpc.models.encoder import build_encoder, check_encoder
from pgpc.models.hrda import HRDA, HRDAHead
from pgpc.models.initial_weights import load_initial
from pgpc.models.normalization import normalize_images
from pgpc.models.pretrained import check_weights, image_statistics, weights_file
from pgpc.models.segmenter import STRIDES, Segmenter
from pgpc.models.timm_names import check_name
from pgpc.models.vit.light import LightHead, LightSegmenter
from pgpc.models.vit.plain import require_plain
from pgpc.models.vit.pyramid_head import PyramidHead


def build_model(config: ModelConfig, classes: Sequence[str] | None = None, *, bands: int = 3) -> Segmenter:
    """Build the network that a configuration describes, in train mode, on the default device.

    Initial weights are drawn from torch's global generator, since neither torch's nor timm's layers take
    another: call ``torch.manual_seed`` first for repeatable ones.
    With `config.pretrained` the encoder's weights come from there, and are fetched where they are not on this machine;
    so does the decoder, where there is one that fits, see :mod:`pgpc.models.initial_weights`.
    Whatever the encoder, the network takes images normalized by ImageNet's statistics, see
    :mod:`pgpc.models.normalization`; of other bands than three as they come.

    Args:
        config: Configuration of the network.
        classes: Names of the classes, which decide whether a classifier is that of the network; None for any.
        bands: Bands of the images, ``data.bands``. Pretrained weights of the first convolution are for three, and are
            made into others, see :func:`pgpc.models.weights.load_encoder`.

    Raises:
        ValueError: timm has no such encoder, or it gives other feature maps than the architecture needs (four at
            strides 4, 8, 16, 32, or the one of a plain vision transformer, of which these are made; for "deeplabv2" at
            4, 8, 8, 8; for "vit_light" that of a plain vision transformer); or the file of weights does not fit it.
        pgpc.models.hub.HubError: The weights are on the hub, which cannot be reached.
    """
    check_name(config.encoder)
    check_weights(config)
    encoder, channels = build_encoder(config.encoder, **_encoder_options(config), bands=bands)
    pretrained = weights_file(config)
    if bands == 3:
        normalize_images(encoder, image_statistics(config))
    model: Segmenter
    if config.architecture == "deeplabv2":
        model = DeepLabV2(encoder, DeepLabHead(channels[-1], config.num_classes), encoder_channels=channels)
    elif config.architecture == "hrda":
        assert config.detail_crop is not None, "the configuration has checked it"
        head = HRDAHead(channels, channels=config.head_channels, num_classes=config.num_classes, dropout=config.dropout)
        model = HRDA(encoder, head, encoder_channels=channels, detail_crop=config.detail_crop)
    elif config.architecture == "vit_light":
        model = LightSegmenter(encoder, LightHead(channels[-1], config.num_classes), encoder_channels=channels)
    elif config.architecture == "pyramid":
        model = Segmenter(encoder, PyramidHead(channels, config.num_classes), encoder_channels=channels)
    else:
        decoder = DAFormerHead(
            channels, channels=config.head_channels, num_classes=config.num_classes, dropout=config.dropout
        )
        model = Segmenter(encoder, decoder, encoder_channels=channels)
    model.bands = bands
    if pretrained is not None:
        load_initial(model, pretrained, classes)
    return model


def shortest_side(config: ModelConfig) -> int:
    """Return the least height and width in pixels that the network of a configuration takes as a whole."""
    return HRDA.shortest_side if config.architecture == "hrda" else Segmenter.shortest_side


def check_model(config: ModelConfig, *, bands: int = 3, masks_tokens: bool = False) -> None:
    """Find, without memory for its weights, what would keep a network from being built.

    Args:
        config: Configuration of the network.
        bands: Bands of the images.
        masks_tokens: Whether patches are to be hidden from it.

    Raises:
        ValueError: timm has no such encoder, it gives other feature maps than the architecture needs, or there are no
            such weights.
    """
    check_name(config.encoder)
    check_weights(config)
    encoder = check_encoder(config.encoder, **_encoder_options(config), bands=bands)
    if masks_tokens:
        require_plain(encoder, config.encoder)


def _encoder_options(config: ModelConfig) -> dict[str, Any]:
    """Return how the encoder is built, as :func:`build_encoder` takes it."""
    strides = {"deeplabv2": DILATED_STRIDES, "vit_light": None}
    return {
        "strides": strides.get(config.architecture, STRIDES),
        "drop_path": config.drop_path,
        "checkpointing": config.checkpointing,
        "image_scale": config.image_scale,
    }
