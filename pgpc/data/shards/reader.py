"""Shards: packed splits as Arrow IPC files that are mapped into memory, one row per image.

A folder, here or on S3, holds ``manifest.json`` and the Arrow files that it lists for each split. Their columns are
name, image and label (encoded; the label may be null), width, height, and class_pixels (C counts at native size).
Images and labels are stored losslessly as tiles (``pgpc.data.tiles``), images of lossy formats as the files that they
were. Nothing is compressed beyond that, so a row is read where it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from pgpc.classes import ClassSet
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.shards.manifest import REMEDY, FileEntry, ShardError, read_manifest, schema
from pgpc.runtime import storage

# Threads of Arrow's own would compete with the loader's processes, and there is nothing to decompress.
_READ = pa.ipc.IpcReadOptions(use_threads=False)


class Shards:
    """One split of a folder of shards, or a part. Rows are read when asked for; a pickle holds only how to open it.

    It is made by :meth:`open`, and a part of it by :meth:`take`.

    Args:
        folder: The folder, or its address on S3.
        split: The name of the split.
        classes: The classes, by train id.
        tables: The contents of its files, of at least one.
        rows: The rows of the split that `tables` hold, ascending; None for all.
        pixels: Bands and bits of the images.
    """

    def __init__(
        self,
        folder: Path | str,
        split: str,
        classes: ClassSet,
        tables: Sequence[pa.Table],
        rows: np.ndarray | None = None,
        *,
        pixels: PixelForm = RGB,
    ) -> None:
        self.folder = folder
        self.split = split
        self.classes = classes
        self.pixels = pixels
        self._rows = rows
        # Concatenating tables makes a list of their chunks; the rows stay where they are.
        self._table = pa.concat_tables(tables)

    @classmethod
    def open(cls, folder: Path | str, split: str) -> Shards:
        """Open one split.

        Checks the manifest, and of each file the size, the Arrow footer, the number of rows, and all offsets and
        names, so that no row can be read out of bounds; :func:`pgpc.data.shards.verify.verify` checks the contents too.

        Args:
            folder: A folder, or its address on S3 (``s3://..``). Files on S3 are downloaded when a machine first
                opens them, checked, and kept in a cache (see ``pgpc.runtime.storage.cached``).
            split: The name of the split.

        Raises:
            ShardError: The folder has no manifest or no such split, or a file is not as the manifest says.
            OSError: S3 cannot be reached, or the cache cannot be written.
        """
        folder = folder if storage.is_url(folder) else Path(folder)
        manifest = read_manifest(folder)
        if split not in manifest.splits:
            raise ShardError(
                f"{folder} has the splits {', '.join(manifest.splits)}, but {split!r} was asked for. "
                "Name one of these, or pack that split too."
            )
        tables = [
            open_table(_local(folder, file), storage.join(folder, file.name), file, len(manifest.classes.names))
            for file in manifest.splits[split].files
        ]
        return cls(folder, split, manifest.classes, tables, pixels=manifest.pixels)

    def __reduce__(self) -> tuple[Callable[..., Shards], tuple[Path | str, str, np.ndarray | None]]:
        return _reopened, (self.folder, self.split, self._rows)

    def take(self, rows: Sequence[int]) -> Shards:
        """Return a part of the split, which is all that can be read through it; nothing is copied.

        Args:
            rows: Numbers of rows, ascending and at least one; the part numbers them anew from 0.
        """
        numbers = np.asarray(rows, dtype=np.int64)
        assert len(numbers) and (np.diff(numbers) > 0).all(), "a part has rows in their order"
        # Slices lie where the rows do, so rows that follow one another are one slice.
        ends = np.flatnonzero(np.diff(numbers) > 1) + 1
        slices = [self._table.slice(int(run[0]), len(run)) for run in np.split(numbers, ends)]
        rows_of_split = numbers if self._rows is None else self._rows[numbers]
        return Shards(self.folder, self.split, self.classes, slices, rows_of_split, pixels=self.pixels)

    def __len__(self) -> int:
        rows: int = self._table.num_rows
        return rows

    def check_labeled(self) -> None:
        """Raise an error if images of the split lack labels.

        Raises:
            ShardError: There are such images.
        """
        if self.num_labeled < len(self):
            raise ShardError(
                f"All images of split {self.split!r} of {self.folder} must have labels here, but "
                f"{len(self) - self.num_labeled} of {len(self)} have none. Choose a labeled split."
            )

    @cached_property
    def num_labeled(self) -> int:
        """Number of rows with a label."""
        unlabeled: int = self._table["label"].null_count
        return len(self) - unlabeled

    @property
    def labeled_rows(self) -> list[int]:
        """Numbers of the rows with a label, ascending."""
        rows: list[int] = np.flatnonzero(self._table["label"].is_valid().to_numpy()).tolist()
        return rows

    @property
    def num_classes(self) -> int:
        """C, the number of classes that labels may have."""
        return len(self.classes.names)

    @cached_property
    def names(self) -> list[str]:
        """Names of all images."""
        names: list[str] = self._table["name"].to_pylist()
        return names

    @cached_property
    def sizes(self) -> np.ndarray:
        """Native width and height of all images, ``(N, 2)``."""
        return np.stack([self._table["width"].to_numpy(), self._table["height"].to_numpy()], axis=1)

    def size(self, index: int) -> tuple[int, int]:
        """Return the native width and height of one image."""
        width, height = self.sizes[index].tolist()
        return width, height

    @cached_property
    def class_pixels(self) -> np.ndarray:
        """Pixels of each class in each image at native size, ``(N, C)`` int64; 0 where there is no label."""
        chunks = [np.asarray(chunk.flatten()) for chunk in self._table["class_pixels"].chunks]
        return np.concatenate(chunks).reshape(len(self), self.num_classes)

    def image_bytes(self, index: int) -> memoryview:
        """Return the encoded image of a row where it lies: tiles that are not decoded are not read from the disk."""
        return memoryview(self._table["image"][index].as_buffer()).cast("B")

    def label_bytes(self, index: int) -> bytes | None:
        """Return the label of a row as encoded train ids; None where there is none."""
        label: bytes | None = self._table["label"][index].as_py()
        return label


def _reopened(folder: Path | str, split: str, rows: np.ndarray | None) -> Shards:
    """Return what a pickle of a split, or of a part, stands for."""
    shards = Shards.open(folder, split)
    return shards if rows is None else shards.take(rows.tolist())


def open_table(path: Path, where: Path | str, file: FileEntry, num_classes: int) -> pa.Table:
    """Map a shard file into memory and check its outline.

    Args:
        path: The path of the file on this machine.
        where: The place that messages call it by.
        file: Its entry in the manifest.
        num_classes: The number of classes.

    Raises:
        ShardError: The file is missing or damaged, or not as its entry says.
    """
    if not path.is_file():
        raise ShardError(f"Shard {where} is missing. {REMEDY}")
    size = path.stat().st_size
    if size != file.size:
        state = "truncated" if size < file.size else "too long"
        raise ShardError(f"Shard {where} is {state}: {size} bytes, the manifest says {file.size}. {REMEDY}")
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path)), options=_READ).read_all()
        # Offsets must be sound, or reading a row would crash the process. This looks at offsets, names and numbers
        # only, never at a page of an image: less work than opening the file was.
        table.validate(full=True)
        nulls = [table[name].null_count for name in table.column_names if name != "label"]
        nulls += [chunk.values.null_count for chunk in table["class_pixels"].chunks]
        empty = any(side < 1 for name in ("width", "height") for side in table[name].to_pylist())
    except Exception as error:  # damaged bytes make the reader fail in many ways
        raise ShardError(f"Shard {where} is damaged: {error}. {REMEDY}") from error
    if table.num_rows != file.rows or not table.schema.equals(schema(num_classes)) or any(nulls):
        raise ShardError(f"Shard {where} has other rows or columns than the manifest says. {REMEDY}")
    if empty:
        raise ShardError(f"Shard {where} is damaged: it has images without pixels. {REMEDY}")
    return table


def _local(folder: Path | str, file: FileEntry) -> Path:
    """Return the path of a shard file on this machine; one on S3 is downloaded into the cache."""
    if not storage.is_url(folder):
        return Path(folder) / file.name
    url = storage.join_url(folder, file.name)
    try:
        return storage.cached(url, file.sha256, file.size)
    except FileNotFoundError as error:
        raise ShardError(f"Shard {url} is missing. {REMEDY}") from error
    except storage.CacheError:
        raise
    except ValueError as error:
        raise ShardError(f"Shard {error} {REMEDY}") from error
