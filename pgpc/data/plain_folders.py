"""Folders of photos and of labels as they are, without the folders ``images`` and ``labels`` around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pgpc.data.layouts.layout import Layout
from pgpc.data.picture_names import files_below
from pgpc.runtime.checks import check


def with_folders(layout: Layout, root: Path, labels: Path | None) -> Layout:
    """Return a layout for a folder of photos, where a data set of one's own is one.

    It is where it has no folder of images, and photos instead, by themselves or in folders of splits.

    Args:
        layout: The layout that was asked for.
        root: The folder of the data set.
        labels: The folder of the labels of these photos, with files of the same names; None where there are none, or
            where they lie below `root`.

    Raises:
        ValueError: `labels` are given for anything else, or are no folder.
    """
    images = root / layout.image_folder
    plain = layout.own_classes and not images.is_dir() and root.is_dir() and _has_photos(root, layout)
    if labels is None:
        return replace(layout, image_folder=".", label_folders=("labels",)) if plain else layout
    check(
        plain,
        "A folder of labels goes with a folder of photos",
        str(root),
        "Name the folder that the photos lie in; in other layouts labels have their place.",
    )
    check(labels.is_dir(), "A folder of labels must be a folder", str(labels))
    # An absolute path takes the place of what it is joined to.
    return replace(layout, image_folder=".", label_folders=(str(labels.absolute()),))


def _has_photos(root: Path, layout: Layout) -> bool:
    return next(files_below(root, layout.image_suffixes), None) is not None
