"""The description of a data set: its folders, its splits, and the ids and colors of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import numpy as np

from pgpc.classes import CITYSCAPES, ClassSet
from pgpc.data.label_colors import LabelColors
from pgpc.data.label_ids import LabelForm
from pgpc.data.layouts.selection import Selection


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
        selection: What says which of the images there belong to it; None takes all.
    """

    labels: Labels
    folders: tuple[tuple[str, ...], ...]
    selection: Selection | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The folders and ids of one data set.

    Attributes:
        name: Name that users give to the command.
        parts: The splits by name.
        flat_split: Split to which all images belong where no split has a folder of its own; None if there is none.
        image_folder: Folder of images below the root, which holds those of the splits.
        image_suffixes: Ends of the names of images, in lower or upper case.
        label_folders: Folders of labels below the root, of which the first that exists is taken, with the same
            subfolders as `image_folder`.
        label_suffixes: Ends that replace the image's suffix in the name of a label of raw ids; the first that exists is
            taken.
        train_id_suffix: End that replaces it in the name of a label of train ids, which is taken where there is no
            other; None if there are no such files.
        splits_first: True where it is the folders of splits that hold those of images and labels.
        label_splits: Folders of splits that are called otherwise below the folder of labels.
        label_channel: Channel in which label files hold raw ids, see :func:`pgpc.data.label_files.decode_label`.
        raw_ids: ``(65536,)`` uint8, the train id of each raw id, see :func:`pgpc.data.label_ids.raw_id_table`.
        classes: The classes, by train id.
        own_classes: True where users describe the classes and ids of their own labels in a file.
        colors: The train ids of the colors of labels that are pictures of colors; None where none are read.
        label_form: Whether label files hold ids or colors.
        ignores_rest: True where ids that no class has are ignored because "rest" says so, not since they are listed.
        bands: Number of bands of the images.
        remedy: Advice on ids that are not defined, as the end of a message.
    """

    name: str
    parts: Mapping[str, Split]
    flat_split: str | None = None
    image_folder: str
    image_suffixes: tuple[str, ...]
    label_folders: tuple[str, ...]
    label_suffixes: tuple[str, ...]
    train_id_suffix: str | None = None
    splits_first: bool = False
    label_splits: Mapping[str, str] = field(default_factory=dict)
    label_channel: Literal["gray", "red16"] = "gray"
    raw_ids: np.ndarray
    classes: ClassSet = CITYSCAPES
    own_classes: bool = False
    colors: LabelColors | None = None
    label_form: LabelForm = LabelForm.IDS
    ignores_rest: bool = False
    bands: int = 3
    remedy: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the data set has; which of them are on disk is another matter."""
        return tuple(self.parts)

    @property
    def all_label_suffixes(self) -> tuple[str, ...]:
        """Ends of the names of labels, of raw ids first."""
        return (*self.label_suffixes, *filter(None, [self.train_id_suffix]))

    def needs_label(self, split: str) -> bool:
        """Return whether every image of a split must have a label."""
        return self.parts[split].labels is Labels.NEEDED

    def images_of(self, folder: str) -> str:
        """Return the folder of the images of one folder of splits, below the root."""
        return f"{folder}/{self.image_folder}" if self.splits_first else f"{self.image_folder}/{folder}"

    def labels_of(self, root: Path, folder: str) -> Path:
        """Return the folder of the labels of one folder of splits."""
        found = self.label_folders[0]
        for labels in self.label_folders[1:]:
            if not (root / found).is_dir() and (root / labels).is_dir():
                found = labels
        named = self.label_splits.get(folder, folder)
        return root / named / found if self.splits_first else root / found / named

    def groups(self, split: str) -> tuple[tuple[str, ...], ...]:
        """Return the alternatives of a split's folders."""
        return (*self.parts[split].folders, *([(".",)] if split == self.flat_split else []))

    def folders(self, root: Path, split: str) -> list[str]:
        """Return the folders of a split that exist; [] where the split does not."""
        for group in self.parts[split].folders:
            if found := [folder for folder in group if (root / self.images_of(folder)).is_dir()]:
                return found
        images = root / self.image_folder
        flat = split == self.flat_split and not any((images / other).is_dir() for other in self.splits)
        return ["."] if flat and images.is_dir() else []

    def stem(self, relative: str) -> str:
        """Return the path of an image without what the names of images end with."""
        suffix = next(s for s in self.image_suffixes if relative.lower().endswith(s.lower()))
        return relative[: -len(suffix)]

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
