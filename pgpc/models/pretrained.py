"""The encoder's initial weights by name: which file ``model.pretrained`` stands for.

"imagenet" is what the encoder was trained to on ImageNet by those who published it: NVIDIA for MiT, and for timm's
other backbones the weights that timm itself takes.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from pgpc.models.checkpoint import CHECKPOINT
from pgpc.models.config import HUB_PREFIX, IMAGENET, ModelConfig, is_weights_name
from pgpc.models.hub import HubFile, cached, fetch
from pgpc.runtime.checks import check

log = logging.getLogger(__name__)

_NVIDIA = (
    "NVIDIA's license allows research and evaluation only, no commercial use: "
    "https://github.com/NVlabs/SegFormer/blob/master/LICENSE"
)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What images are normalized by here, as nearly all encoders were trained."""


class _Published(NamedTuple):
    """Weights on the hub, and what is said where they are fetched."""

    file: HubFile
    notice: str


def weights_file(config: ModelConfig) -> Path | None:
    """Return the file of the encoder's initial weights, fetched where need be; None for random ones.

    Args:
        config: The configuration of the network.

    Raises:
        ValueError: The configuration names no weights that there are, or they are damaged.
        pgpc.models.hub.HubError: They are on the hub, which cannot be reached.
        FileNotFoundError: There is no such file.
    """
    if config.pretrained is None:
        return None
    if not is_weights_name(config.pretrained):
        check_weights(config)
        return _file(config.pretrained)
    return fetch(*_published(config))


def check_weights(config: ModelConfig) -> None:
    """Find, without a network, what would keep the encoder's initial weights from being read.

    Raises:
        ValueError: There is no such file, or no such name.
    """
    if config.pretrained is None:
        return
    if is_weights_name(config.pretrained):
        _published(config)
        return
    check(
        _file(config.pretrained).is_file(),
        "model.pretrained must name a file of weights, a run's folder, imagenet, hf:owner/name, or none for random "
        "weights",
        config.pretrained,
        f"There is no {CHECKPOINT} in it." if Path(config.pretrained).is_dir() else "There is no such file.",
    )


def _file(place: str) -> Path:
    """Return the file at a place: in the folder of a run it is the checkpoint."""
    path = Path(place)
    return path / CHECKPOINT if path.is_dir() else path


def is_here(config: ModelConfig) -> bool:
    """Return whether the encoder's initial weights need no network: a file, or in the cache, or random ones."""
    if config.pretrained is None or not is_weights_name(config.pretrained):
        return True
    return cached(_published(config).file) is not None


def _published(config: ModelConfig) -> _Published:
    assert config.pretrained is not None, "random weights are nowhere"
    if config.pretrained.startswith(HUB_PREFIX):
        return _Published(HubFile.parse(config.pretrained.removeprefix(HUB_PREFIX)), "Its page says the license.")
    if size := re.fullmatch("mit_(b[0-5])", config.encoder):
        return _Published(HubFile(f"nvidia/mit-{size[1]}"), _NVIDIA)
    return _of_timm(config.encoder)


def _of_timm(encoder: str) -> _Published:
    import timm

    known = timm.get_pretrained_cfg(encoder)
    check(
        known is not None and bool(known.hf_hub_id),
        f"model.pretrained={IMAGENET} needs an encoder whose weights timm knows on the hub",
        encoder,
        "Name a file or hf:owner/name, take none for random weights, or choose another model.encoder.",
    )
    assert known is not None and known.hf_hub_id is not None, "it was checked"
    normalized = ""
    if (known.mean, known.std) != (_MEAN, _STD):
        normalized = f" It was trained on images normalized by {known.mean} and {known.std}, other than here."
    notice = f"License: {known.license or 'see its page'}.{normalized}"
    return _Published(HubFile(known.hf_hub_id, name=known.hf_hub_filename), notice)
