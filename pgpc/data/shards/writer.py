"""Writing of one split into shard files of bounded size, each of which is noted when it is finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pgpc.data.shards.label_totals import LabelTotals
from pgpc.data.shards.manifest import FileEntry, SkippedImage, SplitManifest, schema
from pgpc.data.shards.pixel_totals import PixelTotals
from pgpc.runtime.files import sha256

MAX_FILE_BYTES = 128 * 2**20
"""Most bytes of images and labels in one file, which an interruption can lose; a larger row is alone in its file."""
BATCH_BYTES = 16 * 2**20
"""Most bytes of images and labels in one Arrow record batch, which bounds the memory of packing."""


@dataclass(frozen=True)
class Row:
    """One row of a shard; its fields but the last two are the columns.

    Attributes:
        name: Name of the image.
        image: The encoded image.
        label: The encoded label; None where there is none.
        width: Width of the image in pixels.
        height: Its height in pixels.
        class_pixels: ``(C,)`` int64, pixels of each class.
        totals: What else is counted of its label.
        pixel_totals: Sums over its pixels; none of RGB of 8 bits.
    """

    name: str
    image: bytes
    label: bytes | None
    width: int
    height: int
    class_pixels: np.ndarray
    totals: LabelTotals = field(default_factory=LabelTotals)
    pixel_totals: PixelTotals = field(default_factory=PixelTotals)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedFile:
    """A shard file that is complete on the disk, as the journal of packing notes it.

    Attributes:
        split: Split that it belongs to.
        file: Its entry in the manifest.
        items: Number of images of the split that were added or skipped up to its end.
        labeled: Number of its rows with a label.
        class_pixels: Number of its pixels of each of the C classes.
        class_images: Number of its images that show each of the C classes.
        skipped: Images that were left out since the file before it.
        totals: What else is counted of the labels of its rows.
        pixel_totals: Sums over the pixels of its images; none of RGB of 8 bits.
    """

    split: str
    file: FileEntry
    items: int
    labeled: int
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...]
    skipped: tuple[SkippedImage, ...]
    totals: LabelTotals = field(default_factory=LabelTotals)
    pixel_totals: PixelTotals = field(default_factory=PixelTotals)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> FinishedFile:
        """Return the file that a JSON object describes.

        Raises:
            ValueError: A value is not of the form that it must have.
            KeyError: A value is missing.
            TypeError: A value is of another type.
        """
        return cls(
            split=entry["split"],
            file=FileEntry.from_json(entry["file"]),
            items=entry["items"],
            labeled=entry["labelled"],
            class_pixels=tuple(entry["class_pixels"]),
            class_images=tuple(entry["class_images"]),
            skipped=tuple(SkippedImage.from_json(image) for image in entry["skipped"]),
            totals=LabelTotals.from_json(entry["labels"]),
            pixel_totals=PixelTotals.from_json(entry["pixels"]) if "pixels" in entry else PixelTotals(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the file as a JSON object."""
        return {
            "split": self.split,
            "file": self.file.to_json(),
            "items": self.items,
            "labelled": self.labeled,
            "class_pixels": list(self.class_pixels),
            "class_images": list(self.class_images),
            "skipped": [image.to_json() for image in self.skipped],
            "labels": self.totals.to_json(),
            **({"pixels": self.pixel_totals.to_json()} if self.pixel_totals.sums else {}),
        }


class SplitWriter:
    """A writer of the rows of one split.

    Args:
        folder: The folder of the files.
        split: The name of the split, after which files are called.
        num_classes: The number C of classes.
        finished: The files that an interrupted run wrote; the first row is the one after them.
        on_file: A function that is called with the path of a file that is complete on the disk, and its description;
            the description that it returns is kept in its place.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        num_classes: int,
        finished: Sequence[FinishedFile],
        on_file: Callable[[Path, FinishedFile], FinishedFile],
    ) -> None:
        self._folder, self._split, self._num_classes, self._on_file = folder, split, num_classes, on_file
        self._schema = schema(num_classes)
        self._finished = list(finished)
        self.num_items = finished[-1].items if finished else 0
        """Number of images added or skipped so far."""
        self._begin_file()

    def add(self, row: Row) -> None:
        """Add the next image."""
        size = len(row.image) + len(row.label or b"")
        if self._file_bytes and self._file_bytes + size > MAX_FILE_BYTES:
            self._end_file()
        self.num_items += 1
        self._file_bytes += size
        self._labeled += row.label is not None
        self._class_pixels += row.class_pixels
        self._class_images += row.class_pixels > 0
        self._totals += row.totals
        self._pixel_totals += row.pixel_totals
        self._rows.append(row)
        self._rows_bytes += size
        if self._rows_bytes >= BATCH_BYTES:
            self._write_batch()

    def skip(self, name: str, problem: str) -> None:
        """Leave out the next image."""
        self.num_items += 1
        self._skipped.append(SkippedImage(split=self._split, name=name, problem=problem))

    def close(self) -> tuple[SplitManifest, list[SkippedImage]]:
        """End the last file.

        Returns:
            The split's entry of the manifest, and the images that were left out.
        """
        self._end_file()
        entries = self._finished
        pixel_totals = sum((entry.pixel_totals for entry in entries), PixelTotals())
        split = SplitManifest(
            count=sum(entry.file.rows for entry in entries),
            labeled=sum(entry.labeled for entry in entries),
            class_pixels=self._sum([entry.class_pixels for entry in entries]),
            class_images=self._sum([entry.class_images for entry in entries]),
            files=tuple(entry.file for entry in entries),
            totals=sum((entry.totals for entry in entries), LabelTotals()),
            pixel_totals=pixel_totals if pixel_totals.sums else None,
        )
        return split, [image for entry in entries for image in entry.skipped] + self._skipped

    def _sum(self, counts: list[tuple[int, ...]]) -> tuple[int, ...]:
        return tuple(np.array(counts, dtype=np.int64).reshape(-1, self._num_classes).sum(0).tolist())

    def _begin_file(self) -> None:
        self._path = self._folder / f"{self._split}-{len(self._finished):05d}.arrow"
        self._file: pa.ipc.RecordBatchFileWriter | None = None
        self._rows: list[Row] = []
        self._num_rows = self._rows_bytes = self._file_bytes = self._labeled = 0
        self._class_pixels = np.zeros(self._num_classes, dtype=np.int64)
        self._class_images = np.zeros(self._num_classes, dtype=np.int64)
        self._skipped: list[SkippedImage] = []
        self._totals, self._pixel_totals = LabelTotals(), PixelTotals()

    def _write_batch(self) -> None:
        if not self._rows:
            return
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._path), self._schema)
        columns = [[getattr(row, field.name) for row in self._rows] for field in self._schema]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema)]
        self._file.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._num_rows += len(self._rows)
        self._rows, self._rows_bytes = [], 0

    def _end_file(self) -> None:
        self._write_batch()
        if self._file is None:
            return
        self._file.close()
        with self._path.open("rb") as written:
            os.fsync(written.fileno())  # noted as finished means finished, even if the machine loses power
        file = FileEntry(
            name=self._path.name,
            rows=self._num_rows,
            size=self._path.stat().st_size,
            sha256=sha256(self._path),
        )
        finished = FinishedFile(
            split=self._split,
            file=file,
            items=self.num_items,
            labeled=self._labeled,
            class_pixels=tuple(self._class_pixels.tolist()),
            class_images=tuple(self._class_images.tolist()),
            skipped=tuple(self._skipped),
            totals=self._totals,
            pixel_totals=self._pixel_totals,
        )
        self._finished.append(self._on_file(self._path, finished))
        self._begin_file()
