"""Writing one split into shard files of bounded size, and noting each file when it is finished."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pgpc.data.shards.reader import schema, sha256

MAX_FILE_BYTES = 128 * 2**20
"""Images and labels of one file in bytes: what an interruption of packing can lose. A larger row gets its own file."""
BATCH_BYTES = 16 * 2**20
"""The same of one Arrow record batch: bounds the memory of packing."""


@dataclass(frozen=True)
class Row:
    """One row of a shard; its fields are the columns."""

    name: str
    image: bytes
    label: bytes | None
    width: int
    height: int
    class_pixels: np.ndarray
    """``(C,)`` int64."""


class SplitWriter:
    """Writes the rows of one split.

    Args:
        folder: where to.
        split: its name; files are called after it.
        num_classes: C.
        finished: entries of the files that an interrupted run wrote; the first row is the one after them.
        on_file: called with a file that is complete on the disk, and its entry:

            - split; file: its entry in the manifest;
            - items: how many images of the split were taken in or skipped before it and in it;
            - labeled, class_pixels, class_images: sums over its rows;
            - skipped: those of its images that were left out.

            What it returns takes the entry's place.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        num_classes: int,
        finished: list[dict[str, Any]],
        on_file: Callable[[Path, dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._folder, self._split, self._num_classes, self._on_file = folder, split, num_classes, on_file
        self._schema = schema(num_classes)
        self._finished = list(finished)
        self.num_items = finished[-1]["items"] if finished else 0
        """Images taken in or skipped so far."""
        self._begin_file()

    def add(self, row: Row) -> None:
        """Take in the next image."""
        size = len(row.image) + len(row.label or b"")
        if self._file_bytes and self._file_bytes + size > MAX_FILE_BYTES:
            self._end_file()
        self.num_items += 1
        self._file_bytes += size
        self._labeled += row.label is not None
        self._class_pixels += row.class_pixels
        self._class_images += row.class_pixels > 0
        self._rows.append(row)
        self._rows_bytes += size
        if self._rows_bytes >= BATCH_BYTES:
            self._write_batch()

    def skip(self, name: str, problem: str) -> None:
        """Leave out the next image."""
        self.num_items += 1
        self._skipped.append({"split": self._split, "name": name, "problem": problem})

    def close(self) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """End the last file.

        Returns:
            The split's entry of the manifest, and the images that were left out.
        """
        self._end_file()
        entries = self._finished
        return {
            "count": sum(entry["file"]["rows"] for entry in entries),
            "labelled": sum(entry["labelled"] for entry in entries),
            "class_pixels": self._sum([entry["class_pixels"] for entry in entries]),
            "class_images": self._sum([entry["class_images"] for entry in entries]),
            "files": [entry["file"] for entry in entries],
        }, [image for entry in entries for image in entry["skipped"]] + self._skipped

    def _sum(self, counts: list[list[int]]) -> list[int]:
        return np.array(counts, dtype=np.int64).reshape(-1, self._num_classes).sum(0).tolist()

    def _begin_file(self) -> None:
        self._path = self._folder / f"{self._split}-{len(self._finished):05d}.arrow"
        self._file: pa.ipc.RecordBatchFileWriter | None = None
        self._rows: list[Row] = []
        self._num_rows = self._rows_bytes = self._file_bytes = self._labeled = 0
        self._class_pixels = np.zeros(self._num_classes, dtype=np.int64)
        self._class_images = np.zeros(self._num_classes, dtype=np.int64)
        self._skipped: list[dict[str, str]] = []

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
        with self._path.open("rb") as file:
            os.fsync(file.fileno())  # noted as finished means finished, even if the machine loses power
        entry = {
            "split": self._split,
            "file": {
                "name": self._path.name,
                "rows": self._num_rows,
                "size": self._path.stat().st_size,
                "sha256": sha256(self._path),
            },
            "items": self.num_items,
            "labelled": self._labeled,
            "class_pixels": self._class_pixels.tolist(),
            "class_images": self._class_images.tolist(),
            "skipped": self._skipped,
        }
        self._finished.append(self._on_file(self._path, entry))
        self._begin_file()
