"""The images of a split and their labels, found in the folders of a layout or named by lists."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pgpc.data.layouts.checks import check_folders, check_labels, check_root
from pgpc.data.layouts.layout import Labels, Layout
from pgpc.data.picture_names import files_below


@dataclass(frozen=True)
class Item:
    """One image of a split.

    Attributes:
        name: Path of the image below the folder of images, without its suffix and without the folder that names the
            split, with "/" between folders; unique in a split.
        image: Path of the image file.
        label: Path of the label file, or None where there is none.
    """

    name: str
    image: Path
    label: Path | None


def scan(layout: Layout, root: Path | str, split: str) -> list[Item]:
    """Find the images and labels of one split, sorted by name.

    Links are followed. Files and folders whose names begin with "." are passed over.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        split: One of the layout's splits.

    Raises:
        ValueError: The layout has no such split, the folders hold no image or a link to a folder that does not exist,
            there are folders beside those of the splits, labels of which none is of an image, or no list that says
            which images belong to the split.
        FileNotFoundError: The folder of images is missing.
    """
    layout.check_splits([split])
    root = Path(root)
    check_root(root)
    check_folders(layout, root)
    folders = layout.folders(root, split)
    if not folders:
        raise FileNotFoundError(_no_folder(layout, root, split))
    selection = layout.parts[split].selection
    is_selected = None if selection is None else selection.of(root)
    files = [
        (folder, file)
        for folder in folders
        for file in files_below(root / layout.images_of(folder), layout.image_suffixes)
    ]
    items = [
        item_of(layout, root, folder, split, file)
        for folder, file in files
        if is_selected is None or is_selected(_stem(layout, root, folder, file))
    ]
    if not items:
        searched = ", ".join(str(root / layout.images_of(folder)) for folder in folders)
        if files:
            raise ValueError(
                f"Layout {layout.name!r} takes some of the images of its {split!r} split, but none of the "
                f"{len(files)} below {searched} is one of them. Check the root and the layout."
            )
        raise ValueError(
            f"Images of layout {layout.name!r} end with {' or '.join(map(repr, layout.image_suffixes))}, but no file "
            f"below {searched} does. Check the root and the layout."
        )
    items.sort(key=lambda item: (item.name, item.image))
    check_labels(
        layout,
        root,
        [layout.labels_of(root, folder) for folder in folders],
        [(item.image, item.label) for item in items],
    )
    return items


def scan_listed(layout: Layout, root: Path | str, lists: Mapping[str, Sequence[str]]) -> dict[str, list[Item]]:
    """Find the images and labels that lists name, wherever below the folder of images they lie.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        lists: The images of each split, by their paths below the root or below the folder of images, with or without
            suffix.

    Returns:
        The images of each split, sorted by name.

    Raises:
        ValueError: There is no such split or image, or an image is listed twice.
        FileNotFoundError: The folder of images is missing.
    """
    layout.check_splits([*lists])
    root = Path(root)
    check_root(root)
    folder = root / layout.image_folder
    if not folder.is_dir():
        raise FileNotFoundError(f"Layout {layout.name!r} has its images in {folder}, but that is no folder.")
    found: dict[str, list[Path]] = {}
    for file in files_below(folder, layout.image_suffixes):
        relative = file.relative_to(folder).as_posix()
        for name in (relative, layout.stem(relative)):
            found.setdefault(name, []).append(file)
    items: dict[str, list[Item]] = {}
    taken: dict[Path, str] = {}
    for split, names in lists.items():
        files = [_listed(layout, name, split, found) for name in names]
        for file in files:
            if file in taken:
                raise ValueError(
                    f"An image must be listed once, but {file} is listed for {taken[file]!r} and for {split!r}. "
                    "Remove it from one."
                )
            taken[file] = split
        items[split] = sorted(
            (item_of(layout, root, ".", split, file) for file in files), key=lambda item: (item.name, item.image)
        )
    pairs = [(item.image, item.label) for split_items in items.values() for item in split_items]
    check_labels(layout, root, [layout.labels_of(root, ".")], pairs)
    return items


def item_of(layout: Layout, root: Path, folder: str, split: str, image: Path) -> Item:
    """Return an image of a split with its label, which is looked for.

    Args:
        layout: The layout of the data set.
        root: The folder of the data set.
        folder: The folder of the split that the image lies in.
        split: The split.
        image: The file.
    """
    stem = _stem(layout, root, folder, image)
    outer = [part for part in PurePosixPath(folder).parts if part.lower() != split]
    name = "/".join([*outer, stem])
    if layout.parts[split].labels is Labels.NONE:
        return Item(name, image, None)
    labels = (layout.labels_of(root, folder) / f"{stem}{suffix}" for suffix in layout.all_label_suffixes)
    # lexists: a link to nothing is a label that cannot be read, which is not the same as having none.
    return Item(name, image, next((file for file in labels if os.path.lexists(file)), None))


def _stem(layout: Layout, root: Path, folder: str, image: Path) -> str:
    """Return the path of an image below its folder, without its suffix."""
    return layout.stem(image.relative_to(root / layout.images_of(folder)).as_posix())


def _listed(layout: Layout, name: str, split: str, found: Mapping[str, Sequence[Path]]) -> Path:
    """Return the image that a list names."""
    below = name.removeprefix(f"{layout.image_folder}/")
    files = found.get(name) or found.get(below) or ()
    if len(files) == 1:
        return files[0]
    what = f"is that of {' and of '.join(map(str, files))}" if files else "is none"
    raise ValueError(
        f"A list of images must name files below {layout.image_folder}/ that end with "
        f"{' or '.join(layout.image_suffixes)}, one a line, with or without that ending, but {name!r} of split "
        f"{split!r} {what}."
    )


def _no_folder(layout: Layout, root: Path, split: str) -> str:
    """Return where the folders of a split would be, as a message."""
    groups = layout.groups(split)
    ways = " or ".join(", ".join(layout.images_of(folder) for folder in group) for group in groups).replace("/.", "")
    return (
        f"Layout {layout.name!r} has the images of its {split!r} split in {ways} below the root, but "
        f"{root / layout.images_of(groups[0][0])} is no folder. Check the root, or that the data set was unpacked "
        "there."
    )
