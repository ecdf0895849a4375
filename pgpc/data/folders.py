"""Layouts: descriptions of the folders and ids of data sets, which find the files of a split and read its labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from pgpc.classes import CITYSCAPES, ClassSet
from pgpc.data.image_files import decode_label, read_file
from pgpc.data.label_ids import UNKNOWN, train_id_labels


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


class Labels(Enum):
    """Whether the images of a split have labels."""

    NEEDED = "needed"
    """Every image must have one."""
    OPTIONAL = "optional"
    """An image may have one."""
    NONE = "none"
    """Images are read without looking for labels."""


@dataclass(frozen=True)
class Split:
    """The place of one split on the disk.

    Attributes:
        labels: Whether its images have labels.
        folders: Alternatives for its folders below the folders of images and labels. The first alternative of which any
            folder exists is searched, in all its folders, recursively.
    """

    labels: Labels
    folders: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The folders and ids of one data set.

    Attributes:
        name: Name that users give to the command.
        parts: The splits by name.
        flat_split: Split to which all images belong where no split has a folder of its own; None if there is none.
        image_folder: Folder of images below the root.
        image_suffixes: Ends of the names of images, in lower or upper case.
        label_folder: Folder of labels below the root, with the same subfolders as `image_folder`.
        label_suffixes: Ends that replace the image's suffix in the name of a label of raw ids; the first that exists is
            taken.
        train_id_suffix: End that replaces it in the name of a label of train ids, which is taken where there is no
            other; None if there are no such files.
        label_channel: Channel in which label files hold raw ids, see :func:`pgpc.data.image_files.decode_label`.
        raw_ids: ``(65536,)`` uint8, the train id of each raw id, see :func:`pgpc.data.label_ids.raw_id_table`.
        classes: The classes, by train id.
        own_classes: True where users describe the classes and ids of their own labels in a file.
        remedy: Advice on ids that are not defined, as the end of a message.
    """

    name: str
    parts: Mapping[str, Split]
    flat_split: str | None = None
    image_folder: str
    image_suffixes: tuple[str, ...]
    label_folder: str
    label_suffixes: tuple[str, ...]
    train_id_suffix: str | None
    label_channel: Literal["gray", "red16"] = "gray"
    raw_ids: np.ndarray
    classes: ClassSet = CITYSCAPES
    own_classes: bool = False
    remedy: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the data set has; which of them are on disk is another matter."""
        return tuple(self.parts)

    def needs_label(self, split: str) -> bool:
        """Return whether every image of a split must have a label."""
        return self.parts[split].labels is Labels.NEEDED

    def scan(self, root: Path | str, split: str) -> list[Item]:
        """Find the images and labels of one split, sorted by name.

        Links are followed. Files and folders whose names begin with "." are passed over.

        Args:
            root: The folder of the data set.
            split: One of `splits`.

        Raises:
            ValueError: The layout has no such split, the folders hold no image or a link to a folder that does not
                exist, or two images have the same name.
            FileNotFoundError: The folder of images is missing.
        """
        self.check_splits([split])
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"The root of a data set must be a folder, but there is none at {root}.")
        folders = self._folders(root, split)
        if not folders:
            ways = " or ".join(
                ", ".join(f"{self.image_folder}/{folder}" for folder in group) for group in self._groups(split)
            ).replace("/.", "")
            raise FileNotFoundError(
                f"Layout {self.name!r} has the images of its {split!r} split in {ways} below the root, but "
                f"{root / self.image_folder / self._groups(split)[0][0]} is no folder. Check the root, or that the "
                "data set was unpacked there."
            )
        items = [
            self._item(root, folder, split, file)
            for folder in folders
            for file in _files(root / self.image_folder / folder, self.image_suffixes)
        ]
        if not items:
            searched = ", ".join(str(root / self.image_folder / folder) for folder in folders)
            raise ValueError(
                f"Images of layout {self.name!r} end with {' or '.join(map(repr, self.image_suffixes))}, but no file "
                f"below {searched} does. Check the root and the layout."
            )
        items.sort(key=lambda item: (item.name, item.image))
        self._check_names(items, split)
        return items

    def lonely_labels(self, root: Path | str, split: str, items: Sequence[Item]) -> list[Path]:
        """Return the labels without an image, which are a sign that images are missing; [] where labels are optional.

        Args:
            root: The folder of the data set.
            split: One of `splits`.
            items: The images of the split, from :meth:`scan`.
        """
        if not self.needs_label(split):
            return []
        root, suffixes = Path(root), (*self.label_suffixes, *filter(None, [self.train_id_suffix]))
        folders = [root / self.label_folder / folder for folder in self._folders(root, split)]
        labels = {file for folder in folders if folder.is_dir() for file in _files(folder, suffixes)}
        known = {item.label for item in items}
        # Beside the label that is taken there may be others of the same image.
        stems = {str(label)[: -len(end)] for label in known if label for end in suffixes if str(label).endswith(end)}
        return sorted(
            label
            for label in labels - known
            if not any(str(label).endswith(end) and str(label)[: -len(end)] in stems for end in suffixes)
        )

    def check_splits(self, splits: Sequence[str]) -> None:
        """Raise an error if the layout lacks one of these splits.

        Raises:
            ValueError: There is such a name, or none at all.
        """
        unknown = [split for split in splits if split not in self.splits]
        if unknown or not splits:
            raise ValueError(
                f"Layout {self.name!r} has the splits {', '.join(self.splits)}, but got {', '.join(splits) or 'none'}."
            )

    def read_label(self, file: Path) -> np.ndarray:
        """Read a label file.

        Returns:
            ``(H, W)`` uint8 train ids.

        Raises:
            ValueError: The file cannot be read, is no label of this layout, or has ids that the data set does not
                define. The message does not name the file.
        """
        channel = "gray" if self._has_train_ids(file) else self.label_channel
        return self.train_ids(decode_label(read_file(file), channel), file)

    def train_ids(self, label: np.ndarray, file: Path) -> np.ndarray:
        """Translate the pixel values of a label file to train ids.

        Args:
            label: ``(H, W)`` uint8 or uint16 as stored in `file`.
            file: The path of the file, whose name tells raw ids from train ids.

        Returns:
            ``(H, W)`` uint8 train ids.

        Raises:
            ValueError: The data set does not define a pixel value.
        """
        of_train = self._has_train_ids(file)
        table = train_id_labels(len(self.classes.names)) if of_train else self.raw_ids
        ids: np.ndarray = table[label]
        unknown = np.unique(label[ids == UNKNOWN]).tolist()
        if unknown:
            few = str(unknown[:20]) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
            raise ValueError(
                f"label has {'train' if of_train else 'raw'} ids that layout {self.name!r} does not define: {few}"
                + self.remedy
            )
        return ids

    def _has_train_ids(self, file: Path) -> bool:
        return self.train_id_suffix is not None and file.name.endswith(self.train_id_suffix)

    def _groups(self, split: str) -> tuple[tuple[str, ...], ...]:
        """Return the alternatives of a split's folders."""
        return (*self.parts[split].folders, *([(".",)] if split == self.flat_split else []))

    def _folders(self, root: Path, split: str) -> list[str]:
        """Return the folders of a split that exist; [] where the split does not."""
        images = root / self.image_folder
        for group in self.parts[split].folders:
            if found := [folder for folder in group if (images / folder).is_dir()]:
                return found
        flat = split == self.flat_split and not any((images / other).is_dir() for other in self.splits)
        return ["."] if flat and images.is_dir() else []

    def _item(self, root: Path, folder: str, split: str, image: Path) -> Item:
        relative = image.relative_to(root / self.image_folder / folder).as_posix()
        suffix = next(s for s in self.image_suffixes if relative.lower().endswith(s.lower()))
        stem = relative[: -len(suffix)]
        outer = [part for part in PurePosixPath(folder).parts if part != split]
        name = "/".join([*outer, stem])
        if self.parts[split].labels is Labels.NONE:
            return Item(name, image, None)
        suffixes = (*self.label_suffixes, *filter(None, [self.train_id_suffix]))
        labels = (root / self.label_folder / folder / f"{stem}{suffix}" for suffix in suffixes)
        # lexists: a link to nothing is a label that cannot be read, which is not the same as having none.
        return Item(name, image, next((file for file in labels if os.path.lexists(file)), None))

    def _check_names(self, items: Sequence[Item], split: str) -> None:
        twice = [f"{one.image} and {other.image}" for one, other in pairwise(items) if one.name == other.name]
        if twice:
            raise ValueError(
                f"Images must have different names without their suffixes, but in the {split!r} split of layout "
                f"{self.name!r} {len(twice)} have the same: {'; '.join(twice[:5])}{'; ..' if twice[5:] else ''}. "
                "Rename or remove one of each."
            )


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder; links are followed, since data sets are often mounted by them."""
    ends = tuple(suffix.lower() for suffix in suffixes)
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        parent, above = waiting.pop()
        status = parent.stat()
        this = (status.st_dev, status.st_ino)
        if this in above:
            continue  # a link to a folder that it lies in
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                if path.is_dir() if entry.is_symlink() else entry.is_dir():
                    waiting.append((path, above | {this}))
                elif entry.name.lower().endswith(ends):
                    yield path
                elif entry.is_symlink() and not path.suffix and not path.exists():
                    raise ValueError(
                        f"Folders of images must exist, but {path} is a link to nothing. Mount what it points to, or "
                        "remove the link."
                    )
