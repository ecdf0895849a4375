"""Loading weights from files, with proof that they fit.

The entries of a file are brought to the network's own names (``encoder.*``, ``decode_head.*``), then compared with the
network in full: no file is loaded in part unless that was asked for.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from pgpc.models.normalization import leave_images, published_buffers
from pgpc.models.vit.plain import published_entries
from pgpc.models.weight_files import read_weight_file
from pgpc.models.weight_layouts import listed, translate
from pgpc.runtime.checks import check

log = logging.getLogger(__name__)
_PUBLISHED = ("encoder", "hugging face")
"""Layouts of files of an encoder by itself, whose images were normalized as its authors say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """How the entries of a file compare with those of a network; all names are the network's own."""

    layout: str
    """Which layout the file has: "pgpc", "daformer", either followed by " student" or " teacher" where the file says
    so, "hugging face" or "encoder"."""
    matched: tuple[str, ...]
    """Entries that were loaded."""
    missing: tuple[str, ...]
    """Entries of the network that the file lacks. Unless a part was asked for: of a file of an encoder those of the
    decode head and of a pyramid; the counters of batch norms, which old files lack and nothing reads; or none."""
    unexpected: tuple[str, ...]
    """Entries of the file that the network lacks; none unless a part was asked for."""
    mismatched: tuple[str, ...]
    """Entries whose shapes differ, with both shapes; none unless a part was asked for."""


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    network: Literal["student", "teacher"] = "student",
    partial: bool = False,
) -> LoadReport:
    """Load the weights of a :class:`~pgpc.models.segmenter.Segmenter` from a file, in place.

    The file is one of ``torch.save`` or a ``.safetensors``. Layouts, possibly nested under ``state_dict`` or ``model``:

    * "pgpc", ours: ``encoder.*``, ``decode_head.*``, or a whole checkpoint of a run.
    * "daformer", a checkpoint of DAFormer, HRDA or MIC: ``backbone.*``, ``decode_head.*``, by themselves or as the
      student ``model.*`` and the teacher ``ema_model.*``.
    * "hugging face", a SegFormer encoder of their library: ``segformer.encoder.*``.
    * "encoder", an encoder by itself, such as SegFormer's ImageNet files, torchvision's ResNets, or a backbone of timm.

    Classifiers behind an encoder are left out. A file without any ``decode_head.*`` loads the encoder only.

    Args:
        model: The network.
        path: The file.
        network: Which network to take where the file holds several. A network without such a name is taken for either,
            and a teacher without student for the default.
        partial: Whether to load what fits, and only report the rest.

    Raises:
        ValueError: The file cannot be read safely, its layout is unknown, or it has no such network; an entry is
            missing, unexpected or of another shape, or in case of `partial` none fits. The network is then unchanged.
        FileNotFoundError: There is no such file.
    """
    check(network in ("student", "teacher"), "network must be 'student' or 'teacher'", network)
    layout, entries = _read(model, path, network)
    return load_entries(model, path, layout, entries, partial=partial)


def load_encoder(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Load only the encoder's weights, from any file that :func:`load_weights` reads.

    Where the encoder takes other bands than the three of the file, the weights of its first convolution are made into
    theirs by timm's rule: repeated in their order (red, green, blue, red, ..) and scaled by 3 / bands, so that the sum
    stays what it was; summed for a single band.

    Args:
        model: The network.
        path: The file.

    Raises:
        ValueError: As in :func:`load_weights`.
        FileNotFoundError: There is no such file.
    """
    layout, entries = _read(model, path, "student")
    encoder = {key: entries[key] for key in entries if not in_head(key)}
    return load_entries(model, path, layout, adapted_to_bands(model, encoder), partial=False)


def adapted_to_bands(model: nn.Module, encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an encoder's entries with a first convolution for the bands of a network, where theirs is for RGB.

    See :func:`load_encoder` for the rule.

    Args:
        model: The network.
        encoder: The entries of the encoder by name.
    """
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and name.startswith("encoder.")]
    if not found:
        return encoder
    name, bands = f"{found[0][0]}.weight", found[0][1].in_channels
    weight = encoder.get(name)
    if weight is None or weight.ndim != 4 or weight.shape[1] != 3 or bands == 3:
        return encoder
    from timm.models import adapt_input_conv

    log.info(
        "The weights of the encoder's first convolution are for RGB, and were made into those of %d band%s: %s.",
        bands,
        "" if bands == 1 else "s",
        "summed" if bands == 1 else f"repeated in their order, and scaled by 3 / {bands}",
    )
    return {**encoder, name: adapt_input_conv(bands, weight)}


def _read(
    model: nn.Module, path: str | os.PathLike[str], network: Literal["student", "teacher"]
) -> tuple[str, dict[str, Tensor]]:
    return translated(model, read_weight_file(path), network, path)


def translated(
    model: nn.Module, content: Any, network: Literal["student", "teacher"], path: str | os.PathLike[str]
) -> tuple[str, dict[str, Tensor]]:
    """Bring the content of a file to a network's names, and say how its encoder sees images.

    Args:
        model: The network.
        content: The content of the file.
        network: Which network to take where the file holds several.
        path: The file, for messages.

    Raises:
        ValueError: The layout is unknown, or there is no such network.
    """
    encoder = getattr(model, "encoder", None)
    published = functools.partial(published_entries, encoder) if isinstance(encoder, nn.Module) else dict
    layout, entries = translate(
        content, network=network, encoder=encoder_names(model), path=os.fspath(path), published=published
    )
    if isinstance(encoder, nn.Module):
        if layout in _PUBLISHED:
            entries |= {f"encoder.{name}": value for name, value in published_buffers(encoder).items()}
        else:
            leave_images(entries, encoder, "encoder.")
    return layout, entries


def encoder_names(model: nn.Module) -> set[str]:
    """Return the names of the entries of a network's encoder, without prefix."""
    return {key.removeprefix("encoder.") for key in model.state_dict() if key.startswith("encoder.")}


def load_entries(
    model: nn.Module, path: str | os.PathLike[str], layout: str, entries: Mapping[str, Tensor], *, partial: bool
) -> LoadReport:
    """Load entries that have the network's names.

    Args:
        model: The network; entries of an encoder by itself leave its decoder as it is.
        path: The file that they are from, for messages.
        layout: Its layout.
        entries: The entries by name.
        partial: Whether to load what fits, and only report the rest.

    Raises:
        ValueError: An entry is missing, unexpected or of another shape, or in case of `partial` none fits.
    """
    report = compare(model.state_dict(), entries, layout)
    encoder_only = not any(in_head(key) for key in entries)
    problems = {
        "missing": [k for k in report.missing if not (encoder_only and _is_new(k)) and not is_counter(k)],
        "unexpected": report.unexpected,
        "of another shape": report.mismatched,
    }
    if not report.matched or (any(problems.values()) and not partial):
        details = "; ".join(f"{len(keys)} {kind}: {listed(keys)}" for kind, keys in problems.items() if keys)
        rule = "at least one entry must fit the network" if partial else "the weights must cover the network exactly"
        raise ValueError(
            f"{rule}, but {os.fspath(path)} (layout {layout!r}) has {details}. Check model.architecture, "
            "model.encoder, model.num_classes and model.head_channels against the file"
            + ("." if partial else ", or load what fits with partial=True.")
        )
    model.load_state_dict({key: entries[key] for key in report.matched}, strict=False)
    return report


def compare(expected: Mapping[str, Tensor], entries: Mapping[str, Tensor], layout: str) -> LoadReport:
    """Return how the entries of a file of some layout compare with those that a network has."""
    common = [key for key in expected if key in entries]
    fits = {key: expected[key].shape == entries[key].shape for key in common}
    return LoadReport(
        layout=layout,
        matched=tuple(key for key in common if fits[key]),
        missing=tuple(key for key in expected if key not in entries),
        unexpected=tuple(key for key in entries if key not in expected),
        mismatched=tuple(
            f"{key} {tuple(entries[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in common
            if not fits[key]
        ),
    )


def in_head(key: str) -> bool:
    """Return whether an entry is the decoder's."""
    return key.startswith("decode_head.")


def _is_new(key: str) -> bool:
    """Return whether an entry is of what an encoder's file never has: the decoder, and a pyramid."""
    return in_head(key) or key.startswith("encoder.pyramid.")


def is_counter(key: str) -> bool:
    """Return whether an entry is a batch norm's counter, which old files lack and nothing reads."""
    return key.endswith(".num_batches_tracked")
