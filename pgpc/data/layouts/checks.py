"""Folders and files that lie otherwise than a layout says, and are refused before anything is left out unseen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pgpc.data.layouts.layout import Layout
from pgpc.data.picture_names import PICTURE_SUFFIXES, count_by_folder, files_below, folders_in

_NOT_FOR_TRAINING = ("val", "valid", "validation", "test", "testing")
"""Names of folders whose images are kept out of training everywhere."""


def check_root(root: Path) -> None:
    """Raise an error if the root of a data set is no folder.

    Raises:
        FileNotFoundError: It is none.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"The root of a data set must be a folder, but there is none at {root}.")


def check_folders(layout: Layout, root: Path) -> None:
    """Refuse folders of pictures beside those of the splits: they would be left out, or trained on unasked.

    Raises:
        ValueError: There are such folders.
    """
    folders = folders_in(root / layout.image_folder)
    if not layout.own_classes:
        _check_flat(layout, folders)
        return
    others = [folder for folder in folders if folder.name not in layout.splits]
    counts = Counter({folder.name: sum(1 for _ in files_below(folder, PICTURE_SUFFIXES)) for folder in others})
    if counts := +counts:
        label_folder = layout.label_folders[0]
        raise ValueError(
            f"The sub-folders of {layout.image_folder}/ must be {', '.join(layout.splits)}, any of them, or there must "
            f"be none, where all is {layout.flat_split}; but {root / layout.image_folder} has "
            f"{count_by_folder(counts)}. Rename them, and those of {label_folder}/ with them, move them into "
            "one of these, or list the pictures of each split (--split-file train=FILE)."
        )


def check_labels(
    layout: Layout, root: Path, folders: Sequence[Path], items: Sequence[tuple[Path, Path | None]]
) -> None:
    """Refuse folders of labels of which not one belongs to an image: they are named otherwise than is known.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        folders: The folders of labels.
        items: The images with their labels.

    Raises:
        ValueError: There are such labels.
    """
    if not layout.own_classes or any(label is not None for _, label in items):
        return
    labels = sorted({f for folder in folders if folder.is_dir() for f in files_below(folder, PICTURE_SUFFIXES)})
    if labels and items:
        image, label = (os.path.relpath(file, root) for file in (items[0][0], labels[0]))
        raise ValueError(
            f"A label must be named as its image, but for what they end with ({' or '.join(layout.label_suffixes)}): "
            f"none of the {len(labels)} files of labels belongs to one of the {len(items)} images. The first are "
            f"{label} and {image}. Say what their names end with "
            "(--label-suffix _mask.png, --image-suffix .jpg), or move them away if they are none."
        )


def _check_flat(layout: Layout, folders: Sequence[Path]) -> None:
    """Refuse folders that are called as splits where all images are taken for one."""
    flat = [split for split, part in layout.parts.items() if part.folders == ((".",),) and part.selection is None]
    found = [folder for folder in folders if folder.name.lower() in _NOT_FOR_TRAINING]
    if flat and found:
        raise ValueError(
            f"Layout {layout.name!r} takes all images below {layout.image_folder}/ for its {flat[0]!r} split, but "
            f"there is {', '.join(map(str, found))}. Move what is not to be trained on out of it, or pack with "
            "layout 'folder', which knows splits, and a description of the classes."
        )
