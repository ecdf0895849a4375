"""How an encoder wants its images normalized: as those were that it was trained on.

All images here are normalized by ImageNet's mean and standard deviation. An encoder that was trained with others (those
of CLIP, SigLIP and EVA-02 are) brings its images to them itself, so that training, prediction and an exported program
cannot differ. The numbers are buffers of the encoder, which lie in checkpoints and exports.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pgpc.models.timm_names import pretrained_config
from pgpc.runtime.checks import check
from pgpc.runtime.json_text import parse_json

SCALE, SHIFT = "image_scale", "image_shift"
"""Names of the buffers of an encoder: what images are multiplied by, then what is added to each channel."""
_WANTED = "published_statistics"
"""Name of an encoder's attribute with the statistics of its published weights."""


class Statistics(NamedTuple):
    """Mean and standard deviation of RGB pixels, scale 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What images are normalized by here, as nearly all encoders were trained."""


def published_statistics(encoder: str, folder: Path | None = None) -> Statistics:
    """Return what the images were normalized by that an encoder was trained on.

    Args:
        encoder: Name of a timm model, perhaps with the tag of its weights.
        folder: A folder with the files of the weights' repository, whose word comes first.

    Raises:
        ValueError: A file of the repository says something else than three means and three deviations.
    """
    found = _of_repository(folder) if folder is not None else None
    if found is not None:
        return found
    known = pretrained_config(encoder)
    return IMAGENET if known is None else Statistics(tuple(known.mean), tuple(known.std))


def normalize_images(encoder: nn.Module, wanted: Statistics) -> None:
    """Make an encoder able to bring images that are normalized by ImageNet's statistics to others.

    Until its published weights are loaded it leaves them as they are: to random weights it makes no difference. Where
    the others are ImageNet's too, nothing is changed at all.

    Args:
        encoder: A network that maps images ``(B, 3, H, W)`` to a list of maps.
        wanted: The statistics of the images that its published weights were trained on.
    """
    if wanted == IMAGENET:
        return
    encoder.register_buffer(SCALE, torch.ones(3))
    encoder.register_buffer(SHIFT, torch.zeros(3))
    setattr(encoder, _WANTED, wanted)
    # In front of the hook that pads, since 0 is the mean color afterwards.
    encoder.register_forward_pre_hook(_normalize, prepend=True)
    encoder.register_load_state_dict_pre_hook(_complete)


def published_buffers(encoder: nn.Module) -> dict[str, Tensor]:
    """Return what the buffers of an encoder are with its published weights; none where it has no such buffers.

    Args:
        encoder: An encoder of :func:`normalize_images`.
    """
    wanted: Statistics | None = getattr(encoder, _WANTED, None)
    if wanted is None:
        return {}
    mean, std, ours, unit = (torch.tensor(values, dtype=torch.float64) for values in (*wanted, *IMAGENET))
    return {SCALE: (unit / std).float(), SHIFT: ((ours - mean) / std).float()}


def leave_images(entries: MutableMapping[str, Tensor], encoder: nn.Module, prefix: str) -> None:
    """Add to the entries of an older network that its encoder saw images as they come, where it does not say.

    Args:
        entries: Tensors by name, which are changed.
        encoder: The encoder that they are for.
        prefix: What its names begin with.
    """
    if hasattr(encoder, SCALE):
        entries.setdefault(f"{prefix}{SCALE}", torch.ones(3))
        entries.setdefault(f"{prefix}{SHIFT}", torch.zeros(3))


def see_alike(encoder: nn.Module, other: nn.Module) -> None:
    """Have an encoder see images as another one of the same kind does.

    Args:
        encoder: The encoder whose buffers are changed.
        other: The encoder whose buffers are taken.
    """
    for name in (SCALE, SHIFT):
        if hasattr(encoder, name):
            encoder.get_buffer(name).copy_(other.get_buffer(name))


def _normalize(encoder: nn.Module, args: tuple[Tensor]) -> Tensor:
    (images,) = args
    scale, shift = encoder.get_buffer(SCALE), encoder.get_buffer(SHIFT)
    return images * scale[:, None, None] + shift[:, None, None]


def _complete(encoder: nn.Module, entries: MutableMapping[str, Tensor], prefix: str, *_: Any) -> None:
    if any(name.startswith(prefix) for name in entries):  # else another part of the network is loaded by itself
        leave_images(entries, encoder, prefix)


def _of_repository(folder: Path) -> Statistics | None:
    """Return what timm's or transformers' description in a repository says; None where it says nothing."""
    for name, group, keys in (
        ("config.json", "pretrained_cfg", ("mean", "std")),
        ("preprocessor_config.json", None, ("image_mean", "image_std")),
    ):
        file = folder / name
        try:
            content = parse_json(file.read_text()) if file.is_file() else {}
        except ValueError:
            content = {}
        described = content.get(group) if group is not None and isinstance(content, Mapping) else content
        if isinstance(described, Mapping) and all(key in described for key in keys):
            return _checked([described[key] for key in keys], file)
    return None


def _checked(values: list[Any], file: Path) -> Statistics:
    numbers = all(
        isinstance(three, list) and len(three) == 3 and all(isinstance(x, (int, float)) for x in three)
        for three in values
    )
    check(
        numbers and all(x > 0 for x in values[1]),
        f"{file} must give three means and three positive standard deviations of the images",
        values,
        "Download the weights' file alone and name it with model.pretrained.",
    )
    return Statistics(*(tuple(float(x) for x in three) for three in values))
