"""The encoder's initial weights by name: which file ``model.pretrained`` stands for.

"imagenet" is what the encoder was trained to on ImageNet by those who published it: NVIDIA for MiT, and for timm's
other backbones the weights that timm itself takes. "streets" comes with the package.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from pgpc.models.checkpoint import CHECKPOINT
from pgpc.models.config import HUB_PREFIX, IMAGENET, STREETS, ModelConfig, is_weights_name
from pgpc.models.hub import HubFile, cached, fetch, snapshot_of
from pgpc.models.normalization import Statistics, published_statistics
from pgpc.models.shipped import shipped_weights
from pgpc.models.timm_names import pretrained_config
from pgpc.runtime.checks import check

log = logging.getLogger(__name__)

_NVIDIA = (
    "NVIDIA's license allows research and evaluation only, no commercial use: "
    "https://github.com/NVlabs/SegFormer/blob/master/LICENSE"
)
_RESTRICTED = {
    "dinov3-license": "Meta's DINOv3 License, no open-source license: commercial use on its terms, which go with the "
    "weights and with what is made of them: https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "cc-by-nc-4.0": "cc-by-nc-4.0, no commercial use",
    "fair-noncommercial-research-license": "fair-noncommercial-research-license, research only, no commercial use",
}
"""What licenses of timm's weights forbid, in words."""


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
    if config.pretrained == STREETS:
        return shipped_weights(config)
    if not is_weights_name(config.pretrained):
        check_weights(config)
        return _file(config.pretrained)
    return fetch(*_published(config))


def image_statistics(config: ModelConfig) -> Statistics:
    """Return what images are to be normalized by for the encoder, as its pretrained configuration says.

    Args:
        config: The configuration of the network; its weights, if it names any, have been fetched.

    Raises:
        ValueError: The repository of the weights says something else than means and deviations.
    """
    folder = None
    if config.pretrained is not None and config.pretrained.startswith(HUB_PREFIX):
        folder = snapshot_of(_published(config).file)
    return published_statistics(config.encoder, folder)


def check_weights(config: ModelConfig) -> None:
    """Find, without a network, what would keep the encoder's initial weights from being read.

    Raises:
        ValueError: There is no such file, or no such name.
    """
    if config.pretrained is None:
        return
    if config.pretrained == STREETS:
        shipped_weights(config)
        return
    if is_weights_name(config.pretrained):
        _published(config)
        return
    check(
        _file(config.pretrained).is_file(),
        "model.pretrained must name a file of weights, a run's folder, imagenet, streets, hf:owner/name, or none for "
        "random weights",
        config.pretrained,
        f"There is no {CHECKPOINT} in it." if Path(config.pretrained).is_dir() else "There is no such file.",
    )


def _file(place: str) -> Path:
    """Return the file at a place: in the folder of a run it is the checkpoint."""
    path = Path(place)
    return path / CHECKPOINT if path.is_dir() else path


def is_here(config: ModelConfig) -> bool:
    """Return whether the encoder's initial weights need no network: a file, or in the cache, or random ones."""
    if config.pretrained in (None, STREETS) or not is_weights_name(str(config.pretrained)):
        return True
    return cached(_published(config).file) is not None


def _published(config: ModelConfig) -> _Published:
    assert config.pretrained is not None, "random weights are nowhere"
    if config.pretrained.startswith(HUB_PREFIX):
        file = HubFile.parse(config.pretrained.removeprefix(HUB_PREFIX))
        license_ = f"License: {_RESTRICTED['dinov3-license']}." if "dinov3" in file.repository.lower() else ""
        return _Published(file, license_ or "Its page says the license.")
    if size := re.fullmatch("mit_(b[0-5])", config.encoder):
        return _Published(HubFile(f"nvidia/mit-{size[1]}"), _NVIDIA)
    return _of_timm(config.encoder)


def _of_timm(encoder: str) -> _Published:
    known = pretrained_config(encoder)
    check(
        known is not None and bool(known.hf_hub_id),
        f"model.pretrained={IMAGENET} needs an encoder whose weights timm knows on the hub",
        encoder,
        "Name a file or hf:owner/name, take none for random weights, or choose another model.encoder.",
    )
    assert known is not None and known.hf_hub_id is not None, "it was checked"
    license_ = known.license or "see its page"
    notice = f"License: {_RESTRICTED.get(license_, license_)}."
    return _Published(HubFile(known.hf_hub_id, name=known.hf_hub_filename), notice)
