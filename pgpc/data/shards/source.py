"""The data set that is packed: its images, a fingerprint of all that the shards depend on, and its rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from pgpc.classes import IGNORE_INDEX, classes_to_json
from pgpc.data.image_files import UPRIGHT, decode_image, goes_into_tiles, read_file, read_orientation, turn
from pgpc.data.image_limits import check_ratio
from pgpc.data.label_ids import LabelForm
from pgpc.data.layouts.labels import ReadLabel, read_label
from pgpc.data.layouts.layout import Layout
from pgpc.data.layouts.leftovers import lonely_labels, repeated, unused
from pgpc.data.layouts.scan import Item, scan, scan_listed
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.shards import writer
from pgpc.data.shards.label_totals import LabelTotals
from pgpc.data.shards.manifest import VERSION, SkippedImage
from pgpc.data.shards.pixel_totals import PixelTotals
from pgpc.data.tiles import encode_tiles
from pgpc.data.transforms import count_ids
from pgpc.runtime.files import read_list

LabelsLie = Literal["upright", "stored"]
"""How the labels of photos lie that EXIF says to turn: as the photo is shown, or as its pixels are stored."""


@dataclass(frozen=True, eq=False)
class PackSource:
    """A data set on the disk.

    Attributes:
        layout: Its layout.
        root: Its folder.
        items: Its images, by split.
        labels_lie: How labels lie whose photo EXIF says to turn.
        is_listed: Whether files list the images of each split, rather than folders.
        pixels: Bands and bits that all images must have.
    """

    layout: Layout
    root: Path
    items: Mapping[str, Sequence[Item]]
    labels_lie: LabelsLie = "upright"
    is_listed: bool = False
    pixels: PixelForm = RGB

    @classmethod
    def scan(
        cls,
        layout: Layout,
        root: Path,
        splits: Sequence[str] | None,
        *,
        labels_lie: LabelsLie = "upright",
        lists: Mapping[str, Path] | None = None,
        pixels: PixelForm = RGB,
    ) -> PackSource:
        """Find the images of a data set.

        Args:
            layout: The layout of the data set.
            root: Its folder.
            splits: The splits to look for; None takes all of the layout that exist.
            labels_lie: How labels lie whose photo EXIF says to turn.
            lists: Files that list the images of each split, instead of `splits` and of folders for them.
            pixels: Bands and bits that all images must have.

        Raises:
            ValueError: A split is unknown, or holds no image; or a list is not sound.
            FileNotFoundError: A folder is missing.
            OSError: A list cannot be read.
        """
        if lists:
            if not layout.own_classes or splits is not None:
                raise ValueError(
                    "Lists of the images of splits are for layout 'folder', and are given instead of splits, but got "
                    f"layout {layout.name!r} and the splits {', '.join(splits or ()) or 'that are there'}."
                )
            names = {split: read_list(file) for split, file in lists.items()}
            return cls(layout, root, scan_listed(layout, root, names), labels_lie, is_listed=True, pixels=pixels)
        if splits is not None:
            splits = tuple(dict.fromkeys(splits))
            layout.check_splits(splits)
            return cls(layout, root, {s: scan(layout, root, s) for s in splits}, labels_lie, pixels=pixels)
        items: dict[str, list[Item]] = {}
        missing: list[FileNotFoundError] = []
        for split in layout.splits:
            try:
                items[split] = scan(layout, root, split)
            except FileNotFoundError as error:
                missing.append(error)
        if not items:
            raise missing[0]
        return cls(layout, root, items, labels_lie, pixels=pixels)

    def unused(self) -> list[Path]:
        """Return the files that look like pictures of the data set, and of which nothing is packed.

        Those of a split that was not asked for are none of them.
        """
        items = [item for split in self.items.values() for item in split]
        for split in self.layout.splits:
            if split not in self.items and not self.is_listed:
                try:
                    items += scan(self.layout, self.root, split)
                except (FileNotFoundError, ValueError):  # there is no such split
                    continue
        return unused(self.layout, self.root, items)

    def notes(self, unused: Sequence[Path]) -> list[str]:
        """Return a sentence for each thing that the names of a user's own files say otherwise than they are taken.

        Args:
            unused: What :meth:`unused` has found.
        """
        layout = self.layout
        notes: list[str] = []
        if not layout.own_classes:
            return notes
        for split, items in self.items.items():
            names = {item.name for item in items}
            endings = Counter(end for name in names for end in _endings_beside(name, names))
            for end, number in endings.items():
                if 3 * number >= len(items):
                    notes.append(
                        f"{number} images of split {split!r} are named as another image and {end!r}. If they are its "
                        f"labels, move them to {layout.label_folders[0]}/, and say how they are named (--label-suffix)."
                    )
        if same := repeated(self.items):
            (trained, other), *_ = same
            notes.append(
                f"{len(same)} images of other splits are images of split 'train', too, byte for byte, such as "
                f"{self._shown(other)} and {self._shown(trained)}: scores on them are of images that were trained on."
            )
        if unused and not any(item.label for items in self.items.values() for item in items):
            notes.append(
                f"No image has a label. Labels are looked for in {layout.label_folders[0]}/, in the folders that "
                f"images have in {layout.image_folder}/. Are they among the pictures that are not used?"
            )
        return notes

    @cached_property
    def _same_names(self) -> Mapping[tuple[str, str], Sequence[Path]]:
        """The files of each split and name that several images have."""
        files: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for split, items in self.items.items():
            for item in items:
                files[split, item.name].append(item.image)
        return {key: same for key, same in files.items() if len(same) > 1}

    @property
    def num_images(self) -> int:
        """Number of images of all splits."""
        return sum(map(len, self.items.values()))

    def lonely_labels(self) -> list[SkippedImage]:
        """Return the labels whose image is missing."""
        found = []
        for split, items in self.items.items():
            for file in lonely_labels(self.layout, self.root, split, items):
                name = self._shown(file)
                found.append(SkippedImage(split=split, name=name, problem=f"{name}: its image is missing"))
        return found

    def fingerprint(self) -> str:
        """Return a checksum that changes with everything that the shards depend on.

        A file counts as changed when its size or the time of its last change is another.
        """
        files = {
            split: [(item.name, self._state(item.image), self._state(item.label)) for item in items]
            for split, items in self.items.items()
        }
        ids = hashlib.sha256(self.layout.raw_ids.tobytes()).hexdigest()
        bounds = [writer.MAX_FILE_BYTES, writer.BATCH_BYTES]
        parts = [VERSION, bounds, self.layout.name, ids, classes_to_json(self.layout.classes), files]
        if self.labels_lie != "upright":
            parts.append(self.labels_lie)
        if self.pixels != RGB:
            parts.append(list(self.pixels))
        colors = self.layout.colors
        # The classes have their colors; so shards of earlier releases, which read no labels in colors, are up to date.
        if colors is not None and (self.layout.label_form is LabelForm.COLORS or IGNORE_INDEX in colors.train_ids):
            parts += [self.layout.label_form.value, colors.codes.tolist(), colors.train_ids.tolist()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def read_row(self, split: str, item: Item) -> writer.Row | str:
        """Read, check and encode an image and its label.

        Args:
            split: The split of the image.
            item: The image.

        Returns:
            The row, or a line that says why the image cannot be packed.
        """
        num_classes = len(self.layout.classes.names)
        file = item.image
        try:
            item.name.encode()  # the shards' names are UTF-8
            if same := self._same_names.get((split, item.name)):
                others = ", ".join(self._shown(other) for other in same if other != file)
                raise ValueError(f"its name without its suffix is also that of {others}. Rename or remove one")
            data = image = read_file(file)
            pixels = decode_image(data, form=self.pixels)
            height, width = pixels.shape[:2]
            check_ratio(width, height)
            if goes_into_tiles(data):
                image = encode_tiles(pixels)
            sums = PixelTotals() if self.pixels == RGB else PixelTotals.of(pixels)
            if item.label is None:
                if self.layout.needs_label(split):
                    raise ValueError(f"its label file is missing, which split {split!r} needs")
                none = np.zeros(num_classes, dtype=np.int64)
                return writer.Row(item.name, image, None, width, height, none, pixel_totals=sums)
            file, orientation = item.label, read_orientation(data)
            read = self._upright(read_label(self.layout, file), (height, width), orientation)
        # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
        except Exception as error:
            return f"{self._shown(file)}: {error}"
        counts = count_ids(read.ids)[:num_classes]
        totals = LabelTotals(
            pixels=read.ids.size,
            blank_images=int(not counts.any()),
            turned_images=int(orientation != UPRIGHT),
            rest=read.rest,
        )
        label = encode_tiles(read.ids, side=max(width, height))
        return writer.Row(item.name, image, label, width, height, counts, totals, sums)

    def _upright(self, label: ReadLabel, shape: tuple[int, int], orientation: int) -> ReadLabel:
        """Turn a label as its photo is turned, where it lies as that is stored; check that both have one size.

        Args:
            label: The label as it was read.
            shape: Height and width of the photo as it is shown.
            orientation: The EXIF orientation of the photo.
        """
        ids = turn(label.ids, orientation) if self.labels_lie == "stored" else label.ids
        if ids.shape != shape:
            turned = ""
            if orientation != UPRIGHT:
                turned = (
                    f". EXIF orientation {orientation} of the photo says to turn it, and labels were taken to lie "
                    + ("as it is shown" if self.labels_lie == "upright" else "as it is stored, and turned with it")
                    + ": --label-orientation says how they lie"
                )
            raise ValueError(
                f"label is {label.ids.shape[1]} x {label.ids.shape[0]}, its image is {shape[1]} x {shape[0]}{turned}"
            )
        return label._replace(ids=ids)

    def _state(self, file: Path | None) -> tuple[str, int, int] | None:
        """Return what tells a file from any other: its path, its size in bytes and the time of its last change."""
        if file is None:
            return None
        try:
            status = file.stat()
        except OSError:  # reading it will say more
            return os.path.relpath(file, self.root), -1, -1
        return os.path.relpath(file, self.root), status.st_size, status.st_mtime_ns

    def _shown(self, file: Path) -> str:
        """Return a file's path for messages; names of files need not be text."""
        return os.path.relpath(file, self.root).encode(errors="backslashreplace").decode()


def _endings_beside(name: str, names: Collection[str]) -> Iterator[str]:
    """Yield what a name has more than another of `names`, from "_", "-" or "." on."""
    for place, letter in enumerate(name):
        if letter in "_-." and name[:place] in names:
            yield name[place:]
