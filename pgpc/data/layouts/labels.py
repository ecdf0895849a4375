"""What label files hold, by the ids and colors of a layout: train ids, and what no class has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pgpc.classes import IGNORE_INDEX
from pgpc.data.image_files import read_file
from pgpc.data.label_colors import LabelColors, color_codes, color_of
from pgpc.data.label_files import decode_label, decode_label_colors
from pgpc.data.label_ids import UNKNOWN, LabelForm, train_id_labels
from pgpc.data.layouts.layout import Layout

_MOST_REST = 20
"""How many of the ids or colors that a label ignores unseen are told apart."""
REST = "others"
"""What the others are counted as."""


class ReadLabel(NamedTuple):
    """The contents of a label file.

    Attributes:
        ids: ``(H, W)`` uint8 train ids.
        rest: Number of pixels of each id or color that no class has and that is ignored unseen, since the description
            of the classes ignores the "rest"; of many the most frequent ones, and the number of all others.
    """

    ids: np.ndarray
    rest: Mapping[str, int]


def read_label(layout: Layout, file: Path) -> ReadLabel:
    """Read a label file.

    Args:
        layout: The layout of the data set.
        file: The file.

    Raises:
        ValueError: The file cannot be read, is no label of this layout, or has ids or colors that the data set does not
            define. The message does not name the file.
    """
    data, form = read_file(file), layout.label_form
    if layout.colors is not None and form is not LabelForm.IDS:
        pixels = decode_label_colors(data, with_palette=form is LabelForm.COLORS)
        if pixels is not None and (form is LabelForm.COLORS or _are_colors(layout, pixels, layout.colors)):
            return _of_colors(color_codes(pixels), layout.colors)
        if form is LabelForm.COLORS:
            raise ValueError('label must be a picture of colors, since "labels" are "colors", but it is gray')
    label = decode_label(data, "gray" if _has_train_ids(layout, file) else layout.label_channel)
    ids = train_ids(layout, label, file)
    rest = _most_frequent(label[ids == IGNORE_INDEX]) if layout.ignores_rest else {}
    return ReadLabel(ids, {str(value): number for value, number in rest.items()})


def train_ids(layout: Layout, label: np.ndarray, file: Path) -> np.ndarray:
    """Translate the pixel values of a label file to train ids.

    Args:
        layout: The layout of the data set.
        label: ``(H, W)`` uint8 or uint16 as stored in `file`.
        file: The path of the file, whose name tells raw ids from train ids.

    Returns:
        ``(H, W)`` uint8 train ids.

    Raises:
        ValueError: The data set does not define a pixel value.
    """
    of_train = _has_train_ids(layout, file)
    table = train_id_labels(len(layout.classes.names)) if of_train else layout.raw_ids
    ids: np.ndarray = table[label]
    unknown = np.unique(label[ids == UNKNOWN]).tolist()
    if unknown:
        few = str(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
        raise ValueError(
            f"label has {'train' if of_train else 'raw'} ids that layout {layout.name!r} does not define: {few}"
            + layout.remedy
        )
    return ids


def _are_colors(layout: Layout, pixels: np.ndarray, colors: LabelColors) -> bool:
    """Return whether a label in RGB, which may hold either, holds colors rather than one id three times."""
    if (pixels != pixels[..., :1]).any():
        return True
    codes = color_codes(pixels)
    if not colors.is_listed(codes).all():
        return False
    if np.array_equal(layout.raw_ids[pixels[..., 0]], colors.translate(codes)):
        return False
    raise ValueError(
        "label is RGB, but gray, and its values may be ids as well as the colors of classes. Say which: add "
        '"labels": "ids" or "labels": "colors" to the description of the classes'
    )


def _of_colors(codes: np.ndarray, colors: LabelColors) -> ReadLabel:
    """Translate the colors ``(H, W)`` of a label to train ids."""
    if colors.conflict:
        raise ValueError(f"label is a picture of colors, which must tell the classes apart. {colors.conflict}")
    others = _most_frequent(codes[~colors.is_listed(codes)])
    rest = {color_of(key) if isinstance(key, int) else key: number for key, number in others.items()}
    if rest and not colors.ignores_rest:
        counted = ", ".join(f"{color} ({number} pixels)" for color, number in rest.items())
        raise ValueError(
            f"label has colors that no class has: {counted}. Give them to classes, or list them in "
            '"ignore"; a label that was resized or saved as JPEG has colors between those of classes'
        )
    return ReadLabel(colors.translate(codes), rest)


def _has_train_ids(layout: Layout, file: Path) -> bool:
    return layout.train_id_suffix is not None and file.name.endswith(layout.train_id_suffix)


def _most_frequent(values: np.ndarray) -> dict[int | str, int]:
    """Count values ``(N,)``: the most frequent ones, and all others together."""
    distinct, numbers = np.unique(values, return_counts=True)
    order = np.argsort(-numbers, kind="stable")
    counted: dict[int | str, int] = {int(distinct[k]): int(numbers[k]) for k in order[:_MOST_REST]}
    if others := int(numbers[order[_MOST_REST:]].sum()):
        counted[REST] = others
    return counted
