"""What a network starts from: the encoder of a file and, where the file has one that fits, its decoder too.

A file with a decoder is a trained network, one's own or a published one: to start from it is to fine-tune it. The
encoder must fit in full, as everywhere. The decoder is taken as a whole or not at all; its classifier, which tells
classes by their place, only where file and network have the same classes. HRDA takes DAFormer's decoder for both of
its scales, and draws the attention between them. What is not taken is drawn at random, as without a file, and said.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pgpc.classes import classes_from_json
from pgpc.models.weight_files import read_weight_file
from pgpc.models.weight_layouts import listed
from pgpc.models.weights import adapted_to_bands, compare, in_head, is_counter, load_entries, translated
from pgpc.runtime import distributed

log = logging.getLogger(__name__)

_HEAD, _INNER = "decode_head.", "decode_head.head."
"""What names of a decoder begin with, and in HRDA those of the decoder of one scale."""
_CLASSIFIERS = {"conv_seg", "classifiers", "out"}
"""Modules whose output channels are the classes, wherever they stand in a decoder."""


def load_initial(model: nn.Module, path: str | os.PathLike[str], classes: Sequence[str] | None = None) -> None:
    """Load what a network starts from, in place, and say what was taken.

    Where it takes other bands than three, see :func:`~pgpc.models.weights.load_encoder`.

    Args:
        model: The network, a :class:`~pgpc.models.segmenter.Segmenter`.
        path: A file of any layout that :func:`~pgpc.models.weights.load_weights` reads. Of a run it is the student that
            is taken, without its projection head.
        classes: Names of the classes that the network is to tell apart, in their order. A file that names its own must
            have the same for its classifier to be taken; of others the number counts. None compares the number alone.

    Raises:
        ValueError: The file cannot be read safely, its layout is unknown, or its encoder is not that of the network.
        FileNotFoundError: There is no such file.
    """
    content = read_weight_file(path)
    layout, entries = translated(model, content, "student", path)
    encoder = {key: value for key, value in entries.items() if not in_head(key)}
    load_entries(model, path, layout, adapted_to_bands(model, encoder), partial=False)
    head = _for_both_scales(model, {key: value for key, value in entries.items() if in_head(key)})
    if not head:
        return
    problem = _misfit(model, head)
    if problem:
        _say_part(path, "the encoder is taken. The decoder", problem)
        return
    problem = _other_classes(model, head, content, classes)
    taken = {key: value for key, value in head.items() if not (problem and _classifies(key))}
    model.load_state_dict(taken, strict=False)
    if problem:
        _say_part(path, "encoder and decoder are taken. The classifier", problem)
    elif distributed.rank() == 0:
        log.info("%s: encoder, decoder and classifier are taken.", path)


def _for_both_scales(model: nn.Module, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the decoder of a file, for HRDA that of DAFormer too: it decodes both scales, and attention is new."""
    expected = {key: value for key, value in model.state_dict().items() if in_head(key)}
    if not head or any(key.startswith(_INNER) for key in head) or not any(key.startswith(_INNER) for key in expected):
        return dict(head)
    attention = {key: value for key, value in expected.items() if not key.startswith(_INNER)}
    return {**attention, **{key.replace(_HEAD, _INNER, 1): value for key, value in head.items()}}


def _misfit(model: nn.Module, head: Mapping[str, Tensor]) -> str:
    """Return in words why the decoder of a file is not that of the network, its classifier aside; "" where it is."""
    expected = {key: value for key, value in model.state_dict().items() if in_head(key)}
    report = compare(expected, head, "")
    named = {
        "missing": [key for key in report.missing if not is_counter(key) and not _classifies(key)],
        "unexpected": [key for key in report.unexpected if not _classifies(key)],
        "of another shape": [text for text in report.mismatched if not _classifies(text.split()[0])],
    }
    return "; ".join(f"{len(keys)} {kind}: {listed(keys, limit=2)}" for kind, keys in named.items() if keys)


def _other_classes(model: nn.Module, head: Mapping[str, Tensor], content: Any, classes: Sequence[str] | None) -> str:
    """Return in words how the classes of a file differ from those of the network; "" where they do not."""
    expected = {key: value for key, value in model.state_dict().items() if _classifies(key)}
    report = compare(expected, {key: value for key, value in head.items() if _classifies(key)}, "")
    if differ := [*report.missing, *report.unexpected, *report.mismatched]:
        return f"it has other classes, {listed(differ, limit=1)}"
    stored = content.get("classes") if isinstance(content, Mapping) else None
    if classes is None or stored is None:
        return ""
    theirs = classes_from_json(stored).names
    if tuple(classes) == theirs:
        return ""
    return f"it has the classes {', '.join(theirs)}, and here they are {', '.join(classes)}"


def _classifies(key: str) -> bool:
    return in_head(key) and not _CLASSIFIERS.isdisjoint(key.split("."))


def _say_part(path: str | os.PathLike[str], taken: str, problem: str) -> None:
    """Say that a part of a network is not taken from a file."""
    if distributed.rank() == 0:
        log.warning("%s: %s is not, and starts from random weights: %s.", path, taken, problem)
