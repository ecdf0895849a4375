"""Loading weights from files, with proof that they fit.

A layout is how a file names its entries. Each is translated to the network's own names (``encoder.*``,
``decode_head.*``), then compared with the network in full: no file may be loaded in part and in silence.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """How the entries of a file compare with those of a network; all names are the network's own."""

    layout: str
    """Which layout the file has: "pgpc", "daformer", "daformer student", "daformer teacher" or "encoder"."""
    matched: tuple[str, ...]
    """Entries that were loaded."""
    missing: tuple[str, ...]
    """Entries of the network that the file lacks: after success, those of the decode head or none."""
    unexpected: tuple[str, ...]
    """Entries of the file that the network lacks; after success none."""
    mismatched: tuple[str, ...]
    """Entries whose shapes differ, with both shapes; after success none."""


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Loads the weights of a :class:`~pgpc.models.segmenter.Segmenter` from a file, in place.

    Layouts, each possibly nested under ``state_dict`` or ``model``:

    * "pgpc", a plain state dict of ours: ``encoder.*``, ``decode_head.*``.
    * "daformer", a checkpoint of DAFormer: ``backbone.*``, ``decode_head.*``. Of one that holds several
      networks the student ``model.*`` is taken, or else the teacher ``ema_model.*``.
    * "encoder", a MiT by itself, such as SegFormer's ImageNet files; its classifier ``head.*`` is left out.

    A file without any ``decode_head.*`` loads the encoder only.

    Raises:
        ValueError: the file holds anything but tensors and plain containers, its layout is unknown, or an
            entry is missing, unexpected or of another shape. The network is then unchanged.
        FileNotFoundError: there is no such file.
    """
    return _load(model, os.fspath(path), *_read(os.fspath(path)))


def load_encoder(model: nn.Module, path: str | os.PathLike[str]) -> LoadReport:
    """Loads only the encoder's weights, from any file that :func:`load_weights` reads; same errors."""
    layout, entries = _read(os.fspath(path))
    return _load(model, os.fspath(path), layout, {key: entries[key] for key in entries if not _in_head(key)})


def _load(model: nn.Module, path: str, layout: str, entries: Mapping[str, Tensor]) -> LoadReport:
    report = _compare(model.state_dict(), entries, layout)
    encoder_only = not any(_in_head(key) for key in entries)
    problems = {
        "missing": [key for key in report.missing if not (encoder_only and _in_head(key))],
        "unexpected": report.unexpected,
        "of another shape": report.mismatched,
    }
    if any(problems.values()):
        details = "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in problems.items() if keys)
        raise ValueError(
            f"the weights must cover the network exactly, but {path} (layout {layout!r}) has "
            f"{details}. Check model.encoder, model.num_classes and model.head_channels against the file."
        )
    model.load_state_dict(entries, strict=False)
    return report


def _compare(expected: Mapping[str, Tensor], entries: Mapping[str, Tensor], layout: str) -> LoadReport:
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


def _read(path: str) -> tuple[str, dict[str, Tensor]]:
    """The file's layout and its entries under the network's own names."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            "a weights file must hold tensors and plain containers only, since reading anything else could "
            f"run code, but {path} does not. If you trust it, write its state dict to a new file."
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ValueError(
            f"a weights file must hold a state dict, that is names to tensors, but {path} does not. "
            "Write one with torch.save(model.state_dict(), path)."
        )
    return _translate(content, path)


def _translate(content: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]]:
    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in content)

    if has("encoder."):
        return "pgpc", dict(content)
    # A checkpoint of self-training holds the student, its teacher and a frozen ImageNet encoder. The student
    # comes first since it is what DAFormer's own evaluation reads.
    networks = {"daformer student": "model.", "daformer teacher": "ema_model.", "daformer": ""}
    for layout, prefix in networks.items():
        if has(f"{prefix}backbone."):
            keys = {key: key.removeprefix(prefix) for key in content if key.startswith(prefix)}
            return layout, {_own_name(name): content[key] for key, name in keys.items()}
    if has("patch_embed1."):
        return "encoder", {f"encoder.{key}": content[key] for key in content if not key.startswith("head.")}
    raise ValueError(
        f"a weights file must have names like 'encoder.*' (own layout), 'backbone.*' (DAFormer) or "
        f"'patch_embed1.*' (a MiT encoder), but {path} has {_listed(list(content)) or 'none'}. Rename its "
        "entries."
    )


def _own_name(daformer_name: str) -> str:
    if daformer_name.startswith("backbone."):
        return "encoder." + daformer_name.removeprefix("backbone.")
    return daformer_name


def _in_head(key: str) -> bool:
    return key.startswith("decode_head.")


def _listed(keys: Sequence[str], limit: int = 10) -> str:
    # A network has up to a thousand entries; the first few tell what is wrong.
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
