"""Layouts: descriptions of the folders and ids of data sets, which find the files of a split and read its labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, ClassSet
from pgpc.data.image_files import decode_label, decode_label_colors, read_file
from pgpc.data.label_colors import LabelColors, color_codes, color_of
from pgpc.data.label_ids import UNKNOWN, LabelForm, train_id_labels
from pgpc.data.picture_names import PICTURE_SUFFIXES, count_by_folder, files_below, folders_in

_MOST_REST = 20
"""How many of the ids or colors that a label ignores unseen are told apart."""
REST = "others"
"""What the others are counted as."""
_NOT_FOR_TRAINING = ("val", "valid", "validation", "test", "testing")
"""Names of folders whose images are kept out of training everywhere."""


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


class ReadLabel(NamedTuple):
    """The contents of a label file.

    Attributes:
        ids: ``(H, W)`` uint8 train ids.
        rest: Number of pixels of each id or color that no class has and that is ignored unseen, since the description
            of the classes ignores the "rest"; of many the most frequent ones, and the number of all others.
    """

    ids: np.ndarray
    rest: Mapping[str, int]


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
        colors: The train ids of the colors of labels that are pictures of colors; None where none are read.
        label_form: Whether label files hold ids or colors.
        ignores_rest: True where ids that no class has are ignored because "rest" says so, not since they are listed.
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
    colors: LabelColors | None = None
    label_form: LabelForm = LabelForm.IDS
    ignores_rest: bool = False
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
                exist, there are folders beside those of the splits, or labels of which none is of an image.
            FileNotFoundError: The folder of images is missing.
        """
        self.check_splits([split])
        root = Path(root)
        self._check_root(root)
        self._check_folders(root)
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
            for file in files_below(root / self.image_folder / folder, self.image_suffixes)
        ]
        if not items:
            searched = ", ".join(str(root / self.image_folder / folder) for folder in folders)
            raise ValueError(
                f"Images of layout {self.name!r} end with {' or '.join(map(repr, self.image_suffixes))}, but no file "
                f"below {searched} does. Check the root and the layout."
            )
        items.sort(key=lambda item: (item.name, item.image))
        self._check_labels(root, [root / self.label_folder / folder for folder in folders], items)
        return items

    def scan_listed(self, root: Path | str, lists: Mapping[str, Sequence[str]]) -> dict[str, list[Item]]:
        """Find the images and labels that lists name, wherever below the folder of images they lie.

        Args:
            root: The folder of the data set.
            lists: The images of each split, by their paths below the root or below the folder of images, with or
                without suffix.

        Returns:
            The images of each split, sorted by name.

        Raises:
            ValueError: There is no such split or image, or an image is listed twice.
            FileNotFoundError: The folder of images is missing.
        """
        self.check_splits([*lists])
        root = Path(root)
        self._check_root(root)
        folder = root / self.image_folder
        if not folder.is_dir():
            raise FileNotFoundError(f"Layout {self.name!r} has its images in {folder}, but that is no folder.")
        found: dict[str, list[Path]] = {}
        for file in files_below(folder, self.image_suffixes):
            relative = file.relative_to(folder).as_posix()
            for name in (relative, self._stem(relative)):
                found.setdefault(name, []).append(file)
        items: dict[str, list[Item]] = {}
        taken: dict[Path, str] = {}
        for split, names in lists.items():
            files = [self._listed(name, split, found) for name in names]
            for file in files:
                if file in taken:
                    raise ValueError(
                        f"An image must be listed once, but {file} is listed for {taken[file]!r} and for {split!r}. "
                        "Remove it from one."
                    )
                taken[file] = split
            items[split] = sorted(
                (self._item(root, ".", split, file) for file in files), key=lambda item: (item.name, item.image)
            )
        self._check_labels(root, [root / self.label_folder], [item for split in items.values() for item in split])
        return items

    def unused(self, root: Path | str, items: Sequence[Item]) -> list[Path]:
        """Return the files that look like pictures of the data set, but are none of these images and their labels.

        Those of other folders than images and labels are looked for in a user's own data set only: the known data sets
        are distributed with many. A file beside a label that is known, and named after it, is no label of its own.

        Args:
            root: The folder of the data set.
            items: The images of all splits that are there.
        """
        root = Path(root)
        used = {item.image for item in items} | {item.label for item in items}
        folders = folders_in(root) if self.own_classes else [root / self.image_folder]
        found = {file for folder in folders if folder.is_dir() for file in files_below(folder, PICTURE_SUFFIXES)}
        if self.own_classes:
            found |= {file for file in root.iterdir() if file.name.lower().endswith(PICTURE_SUFFIXES)}
        return sorted(found - used)

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
        labels = {file for folder in folders if folder.is_dir() for file in files_below(folder, suffixes)}
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
        """Return the train ids ``(H, W)`` uint8 of a label file, see :meth:`read`."""
        return self.read(file).ids

    def read(self, file: Path) -> ReadLabel:
        """Read a label file.

        Raises:
            ValueError: The file cannot be read, is no label of this layout, or has ids or colors that the data set does
                not define. The message does not name the file.
        """
        data = read_file(file)
        if self.colors is not None and self.label_form is not LabelForm.IDS:
            pixels = decode_label_colors(data, with_palette=self.label_form is LabelForm.COLORS)
            if pixels is not None and (self.label_form is LabelForm.COLORS or self._are_colors(pixels, self.colors)):
                return self._of_colors(color_codes(pixels), self.colors)
            if self.label_form is LabelForm.COLORS:
                raise ValueError('label must be a picture of colors, since "labels" are "colors", but it is gray')
        label = decode_label(data, "gray" if self._has_train_ids(file) else self.label_channel)
        ids = self.train_ids(label, file)
        rest = _most_frequent(label[ids == IGNORE_INDEX]) if self.ignores_rest else {}
        return ReadLabel(ids, {str(value): number for value, number in rest.items()})

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

    def _are_colors(self, pixels: np.ndarray, colors: LabelColors) -> bool:
        """Return whether a label in RGB, which may hold either, holds colors rather than one id three times."""
        if (pixels != pixels[..., :1]).any():
            return True
        codes = color_codes(pixels)
        if not colors.is_listed(codes).all():
            return False
        if np.array_equal(self.raw_ids[pixels[..., 0]], colors.translate(codes)):
            return False
        raise ValueError(
            "label is RGB, but gray, and its values may be ids as well as the colors of classes. Say which: add "
            '"labels": "ids" or "labels": "colors" to the description of the classes'
        )

    def _of_colors(self, codes: np.ndarray, colors: LabelColors) -> ReadLabel:
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
        stem = self._stem(relative)
        outer = [part for part in PurePosixPath(folder).parts if part != split]
        name = "/".join([*outer, stem])
        if self.parts[split].labels is Labels.NONE:
            return Item(name, image, None)
        suffixes = (*self.label_suffixes, *filter(None, [self.train_id_suffix]))
        labels = (root / self.label_folder / folder / f"{stem}{suffix}" for suffix in suffixes)
        # lexists: a link to nothing is a label that cannot be read, which is not the same as having none.
        return Item(name, image, next((file for file in labels if os.path.lexists(file)), None))

    def _stem(self, relative: str) -> str:
        """Return the path of an image without what the names of images end with."""
        suffix = next(s for s in self.image_suffixes if relative.lower().endswith(s.lower()))
        return relative[: -len(suffix)]

    def _listed(self, name: str, split: str, found: Mapping[str, Sequence[Path]]) -> Path:
        """Return the image that a list names."""
        below = name.removeprefix(f"{self.image_folder}/")
        files = found.get(name) or found.get(below) or ()
        if len(files) == 1:
            return files[0]
        what = f"is that of {' and of '.join(map(str, files))}" if files else "is none"
        raise ValueError(
            f"A list of images must name files below {self.image_folder}/ that end with "
            f"{' or '.join(self.image_suffixes)}, one a line, with or without that ending, but {name!r} of split "
            f"{split!r} {what}."
        )

    def _check_root(self, root: Path) -> None:
        if not root.is_dir():
            raise FileNotFoundError(f"The root of a data set must be a folder, but there is none at {root}.")

    def _check_folders(self, root: Path) -> None:
        """Refuse folders of pictures beside those of the splits: they would be left out, or trained on unasked."""
        folders = folders_in(root / self.image_folder)
        if not self.own_classes:
            self._check_flat(folders)
            return
        others = [folder for folder in folders if folder.name not in self.splits]
        counts = Counter({folder.name: sum(1 for _ in files_below(folder, PICTURE_SUFFIXES)) for folder in others})
        if counts := +counts:
            raise ValueError(
                f"The sub-folders of {self.image_folder}/ must be {', '.join(self.splits)}, any of them, or there must "
                f"be none, where all is {self.flat_split}; but {root / self.image_folder} has "
                f"{count_by_folder(counts)}. Rename them, and those of {self.label_folder}/ with them, move them into "
                "one of these, or list the pictures of each split (--split-file train=FILE)."
            )

    def _check_flat(self, folders: Sequence[Path]) -> None:
        """Refuse folders that are called as splits where all images are taken for one."""
        flat = [split for split, part in self.parts.items() if part.folders == ((".",),)]
        found = [folder for folder in folders if folder.name.lower() in _NOT_FOR_TRAINING]
        if flat and found:
            raise ValueError(
                f"Layout {self.name!r} takes all images below {self.image_folder}/ for its {flat[0]!r} split, but "
                f"there is {', '.join(map(str, found))}. Move what is not to be trained on out of it, or pack with "
                "layout 'folder', which knows splits, and a description of the classes."
            )

    def _check_labels(self, root: Path, folders: Sequence[Path], items: Sequence[Item]) -> None:
        """Refuse folders of labels of which not one belongs to an image: they are named otherwise than is known."""
        if not self.own_classes or any(item.label is not None for item in items):
            return
        labels = sorted({f for folder in folders if folder.is_dir() for f in files_below(folder, PICTURE_SUFFIXES)})
        if labels and items:
            image, label = (os.path.relpath(file, root) for file in (items[0].image, labels[0]))
            raise ValueError(
                f"A label must be named as its image, but for what they end with ({' or '.join(self.label_suffixes)}): "
                f"none of the {len(labels)} files of labels belongs to one of the {len(items)} images. The first are "
                f"{label} and {image}. Say what their names end with "
                "(--label-suffix _mask.png, --image-suffix .jpg), or move them away if they are none."
            )


def _most_frequent(values: np.ndarray) -> dict[int | str, int]:
    """Count values ``(N,)``: the most frequent ones, and all others together."""
    distinct, numbers = np.unique(values, return_counts=True)
    order = np.argsort(-numbers, kind="stable")
    counted: dict[int | str, int] = {int(distinct[k]): int(numbers[k]) for k in order[:_MOST_REST]}
    if others := int(numbers[order[_MOST_REST:]].sum()):
        counted[REST] = others
    return counted
