"""Files of a data set that no split takes, or several: pictures not used, labels without an image, and repeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pgpc.data.layouts.layout import Layout
from pgpc.data.layouts.scan import Item
from pgpc.data.picture_names import PICTURE_SUFFIXES, files_below, folders_in
from pgpc.runtime.files import sha256

_BEGINNING = 4096  # bytes that tell most pictures of one size apart


def unused(layout: Layout, root: Path | str, items: Sequence[Item]) -> list[Path]:
    """Return the files that look like pictures of the data set, but are none of these images and their labels.

    Those of other folders than images and labels are looked for in a user's own data set only: the known data sets are
    distributed with many. A file beside a label that is known, and named after it, is no label of its own. Where a rule
    chooses images, those that it does not choose are of another domain.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        items: The images of all splits that are there.
    """
    root = Path(root)
    if layout.splits_first or any(part.selection is not None for part in layout.parts.values()):
        return []
    used = {item.image for item in items} | {item.label for item in items}
    folders = folders_in(root) if layout.own_classes else [root / layout.image_folder]
    found = {file for folder in folders if folder.is_dir() for file in files_below(folder, PICTURE_SUFFIXES)}
    if layout.own_classes:
        found |= {file for file in root.iterdir() if file.name.lower().endswith(PICTURE_SUFFIXES)}
    return sorted(found - used)


def lonely_labels(layout: Layout, root: Path | str, split: str, items: Sequence[Item]) -> list[Path]:
    """Return the labels without an image, which are a sign that images are missing; [] where labels are optional.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        split: One of the layout's splits.
        items: The images of the split, from :func:`pgpc.data.layouts.scan.scan`.
    """
    if not layout.needs_label(split) or layout.parts[split].selection is not None:
        return []
    root, suffixes = Path(root), layout.all_label_suffixes
    folders = [layout.labels_of(root, folder) for folder in layout.folders(root, split)]
    labels = {file for folder in folders if folder.is_dir() for file in files_below(folder, suffixes)}
    known = {item.label for item in items}
    # Beside the label that is taken there may be others of the same image.
    stems = {str(label)[: -len(end)] for label in known if label for end in suffixes if str(label).endswith(end)}
    return sorted(
        label
        for label in labels - known
        if not any(str(label).endswith(end) and str(label)[: -len(end)] in stems for end in suffixes)
    )


def repeated(items: Mapping[str, Sequence[Item]]) -> list[tuple[Path, Path]]:
    """Return the images of the train split that are in another one, too, each with the file there.

    They are the same byte for byte, such as copies, or one file by a link. Whole files are read only where sizes and
    beginnings are the same.

    Args:
        items: The images of each split.
    """
    trained: dict[tuple[int, bytes], list[Path]] = defaultdict(list)
    others = [item.image for split, of_split in items.items() if split != "train" for item in of_split]
    sizes = {_size(file) for file in others}
    for item in items.get("train", ()):
        if _size(item.image) in sizes:
            trained[_outline(item.image)].append(item.image)
    if not trained:
        return []
    return [
        (file, other)
        for other in others
        for file in trained.get(_outline(other), ())
        if file.samefile(other) or sha256(file) == sha256(other)
    ]


def _size(file: Path) -> int:
    """Return the size of a file in bytes; -1 where there is none, of which packing says more."""
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _outline(file: Path) -> tuple[int, bytes]:
    """Return what tells most files apart: the size and the beginning."""
    try:
        with file.open("rb") as opened:
            return _size(file), opened.read(_BEGINNING)
    except OSError:
        return -1, bytes(file)
