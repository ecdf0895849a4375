"""How data sets lie on disk: where images and labels are, and what the pixel values of the labels mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pgpc.classes import CITYSCAPES_TRAIN_IDS, IGNORE_INDEX, NUM_CLASSES

_TRAIN_ID_SUFFIX = "labelTrainIds.png"


@dataclass(frozen=True)
class Item:
    """One image of a split.

    Attributes:
        name: path below the folder of images without its suffix, with "/" between folders; unique in a split.
        image: the image file.
        label: the label file, or None where the split has no labels.
    """

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The folders and ids of one data set. ``{split}`` in a folder stands for the name of the split.

    Attributes:
        name: what users call the layout.
        splits: splits that exist; all are packed unless the user names some.
        image_folder: searched recursively for images.
        image_suffix: end of the name of an image.
        label_folder: has the same sub-folders as `image_folder`.
        label_suffixes: what replaces `image_suffix` in the name of a label; the first that exists is taken.
            Files that end with "labelTrainIds.png" hold train ids, all others raw ids.
        id_table: ``(256,)`` uint8, raw id to train id.
        known_ids: the raw ids that the data set defines; any other is a sign of a wrong file.
    """

    name: str
    splits: tuple[str, ...]
    image_folder: str
    image_suffix: str
    label_folder: str
    label_suffixes: tuple[str, ...]
    id_table: np.ndarray
    known_ids: frozenset[int]

    def scan(self, root: Path | str, split: str) -> list[Item]:
        """Find the images and labels of one split, sorted by name.

        Args:
            root: folder of the data set.
            split: one of `splits`.

        Raises:
            ValueError: the layout has no such split, or the folder holds no image.
            FileNotFoundError: a folder or a label is missing.
        """
        self.check_splits([split])
        root = Path(root)
        images = root / self.image_folder.format(split=split)
        labels = root / self.label_folder.format(split=split)
        for folder in (images, labels):
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"Layout {self.name!r} has its {split!r} split in "
                    f"{self.image_folder.format(split=split)} and {self.label_folder.format(split=split)} "
                    f"below the root, but {folder} is no folder. Check the root, or that the data set was "
                    "unpacked there."
                )
        files = sorted(_files(images, self.image_suffix))
        if not files:
            raise ValueError(
                f"Images of layout {self.name!r} end with {self.image_suffix!r}, but no file below {images} "
                "does. Check the root and the layout."
            )
        items = [self._item(images, labels, file) for file in files]
        missing = [item.name for item in items if item.label is None]
        if missing:
            few = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise FileNotFoundError(
                f"Every image of the {split!r} split of layout {self.name!r} needs a label named after it "
                f"with {' or '.join(self.label_suffixes)} below {labels}, but {len(missing)} of {len(items)} "
                f"have none: {few}. Add the labels, or remove the images."
            )
        return items

    def check_splits(self, splits: Sequence[str]) -> None:
        """Refuse names of splits that the layout does not have.

        Raises:
            ValueError: there is such a name, or none at all.
        """
        unknown = [split for split in splits if split not in self.splits]
        if unknown or not splits:
            raise ValueError(
                f"Layout {self.name!r} has the splits {', '.join(self.splits)}, but got {list(splits)}."
            )

    def train_ids(self, label: np.ndarray, file: Path) -> np.ndarray:
        """Translate the pixel values of a label file to train ids.

        Args:
            label: ``(H, W)`` uint8 as stored in `file`.
            file: its name tells raw ids from train ids.

        Returns:
            ``(H, W)`` uint8 train ids.

        Raises:
            ValueError: a pixel value that the data set does not define.
        """
        if file.name.endswith(_TRAIN_ID_SUFFIX):
            table, known = np.arange(256, dtype=np.uint8), frozenset([*range(NUM_CLASSES), IGNORE_INDEX])
        else:
            table, known = self.id_table, self.known_ids
        values = np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist()
        unknown = [value for value in values if value not in known]
        if unknown:
            kind = "train" if table is not self.id_table else "raw"
            raise ValueError(f"label has {kind} ids that layout {self.name!r} does not define: {unknown}")
        return table[label]

    def _item(self, images: Path, labels: Path, image: Path) -> Item:
        name = image.relative_to(images).as_posix().removesuffix(self.image_suffix)
        candidates = (labels / f"{name}{suffix}" for suffix in self.label_suffixes)
        return Item(name, image, next((file for file in candidates if file.is_file()), None))


def _files(folder: Path, suffix: str) -> list[Path]:
    # os.walk rather than Path.rglob, which does not follow the links that data sets are often mounted by.
    return [
        Path(parent) / name
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    ]


# 0..33 are the ids of Cityscapes' label definitions; GTA5 uses 34 for licence plates; 255 is -1 in 8 bits.
_CITYSCAPES_RAW_IDS = frozenset([*range(35), 255])

GTA5 = Layout(
    name="gta5",
    splits=("train",),
    image_folder="images",
    image_suffix=".png",
    label_folder="labels",
    label_suffixes=(".png", "_labelTrainIds.png"),
    id_table=CITYSCAPES_TRAIN_IDS,
    known_ids=_CITYSCAPES_RAW_IDS,
)

CITYSCAPES = Layout(
    name="cityscapes",
    splits=("train", "val"),
    image_folder="leftImg8bit/{split}",
    image_suffix="_leftImg8bit.png",
    label_folder="gtFine/{split}",
    label_suffixes=("_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"),
    id_table=CITYSCAPES_TRAIN_IDS,
    known_ids=_CITYSCAPES_RAW_IDS,
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (GTA5, CITYSCAPES)}
"""All layouts by name."""


def layout(name: str) -> Layout:
    """The layout of a name.

    Raises:
        ValueError: no layout has this name.
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, but got {name!r}.")
    return LAYOUTS[name]
