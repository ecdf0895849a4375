"""The data set that is packed: its images, a fingerprint of all that the shards depend on, and its rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pgpc.classes import classes_to_json
from pgpc.data.folders import Item, Layout
from pgpc.data.image_files import decode_image, is_lossless, read_file
from pgpc.data.shards import writer
from pgpc.data.shards.manifest import VERSION, SkippedImage
from pgpc.data.tiles import encode_tiles
from pgpc.data.transforms import count_ids


@dataclass(frozen=True, eq=False)
class PackSource:
    """A data set on the disk.

    Attributes:
        layout: Its layout.
        root: Its folder.
        items: Its images, by split.
    """

    layout: Layout
    root: Path
    items: Mapping[str, Sequence[Item]]

    @classmethod
    def scan(cls, layout: Layout, root: Path, splits: Sequence[str] | None) -> PackSource:
        """Find the images of a data set.

        Args:
            layout: The layout of the data set.
            root: Its folder.
            splits: The splits to look for; None takes all of the layout that exist.

        Raises:
            ValueError: A split is unknown, or holds no image or two of one name.
            FileNotFoundError: A folder is missing.
        """
        if splits is not None:
            splits = tuple(dict.fromkeys(splits))
            layout.check_splits(splits)
            return cls(layout, root, {split: layout.scan(root, split) for split in splits})
        items: dict[str, list[Item]] = {}
        missing: list[FileNotFoundError] = []
        for split in layout.splits:
            try:
                items[split] = layout.scan(root, split)
            except FileNotFoundError as error:
                missing.append(error)
        if not items:
            raise missing[0]
        return cls(layout, root, items)

    @property
    def num_images(self) -> int:
        """Number of images of all splits."""
        return sum(map(len, self.items.values()))

    def lonely_labels(self) -> list[SkippedImage]:
        """Return the labels whose image is missing."""
        found = []
        for split, items in self.items.items():
            for file in self.layout.lonely_labels(self.root, split, items):
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
            image = read_file(file)
            pixels = decode_image(image)
            height, width = pixels.shape[:2]
            if is_lossless(image):
                image = encode_tiles(pixels)
            if item.label is None:
                if self.layout.needs_label(split):
                    raise ValueError(f"its label file is missing, which split {split!r} needs")
                return writer.Row(item.name, image, None, width, height, np.zeros(num_classes, dtype=np.int64))
            file = item.label
            label = self.layout.read_label(file)
            if label.shape != (height, width):
                raise ValueError(f"label is {label.shape[1]} x {label.shape[0]}, its image is {width} x {height}")
        # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
        except Exception as error:
            return f"{self._shown(file)}: {error}"
        counts = count_ids(label)[:num_classes]
        return writer.Row(item.name, image, encode_tiles(label, side=max(width, height)), width, height, counts)

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
