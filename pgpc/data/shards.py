"""Shards: packed splits as Arrow IPC files that are mapped into memory, one row per image.

A folder holds ``manifest.json`` and, per split, ``{split}-00000.arrow``, ``{split}-00001.arrow``, ... The
columns are name, image and label (encoded files; the label may be null), width, height, and class_pixels (C
counts at native size). Nothing is compressed beyond the images' own encoding, so a row is read where it lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.data.transforms import count_ids, decode_image, decode_label

VERSION = 2
"""Version of the format; a reader takes this one only."""
MANIFEST = "manifest.json"

_REMEDY = "Pack the data set again with `pgpc pack`."
# Threads of Arrow's own would compete with the loader's processes, and there is nothing to decompress.
_READ = pa.ipc.IpcReadOptions(use_threads=False)


class ShardError(ValueError):
    """A folder of shards that is missing, damaged, or of another version."""


def schema(num_classes: int) -> pa.Schema:
    """Columns of a shard, for C classes."""
    return pa.schema([
        pa.field("name", pa.string(), nullable=False),
        pa.field("image", pa.large_binary(), nullable=False),
        pa.field("label", pa.large_binary()),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("class_pixels", pa.list_(pa.int64(), num_classes), nullable=False),
    ])  # fmt: skip


class Shards:
    """One split of a folder of shards. Rows are read when asked for; a pickle holds only folder and split."""

    def __init__(self, folder: Path, split: str, manifest: dict[str, Any], tables: list[pa.Table]) -> None:
        """Use :meth:`open`."""
        self.folder = folder
        self.split = split
        self.classes = classes_from_json(manifest["classes"])
        self.num_labelled: int = manifest["splits"][split]["labelled"]
        # Concatenating tables makes a list of their chunks; the rows stay where they are.
        self._table = pa.concat_tables(tables)

    @classmethod
    def open(cls, folder: Path | str, split: str) -> Shards:
        """Open one split.

        Checks the manifest, and of each file the size, the Arrow footer and the number of rows;
        :func:`verify` checks the contents.

        Raises:
            ShardError: no manifest, no such split, or a file that is not what the manifest says.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if split not in manifest["splits"]:
            raise ShardError(
                f"{folder} has the splits {', '.join(manifest['splits'])}, but {split!r} was asked for. "
                "Name one of these, or pack that split too."
            )
        tables = [
            _open_file(folder, file, len(manifest["classes"])) for file in manifest["splits"][split]["files"]
        ]
        return cls(folder, split, manifest, tables)

    def __reduce__(self) -> tuple[Callable[..., Shards], tuple[Path, str]]:
        return Shards.open, (self.folder, self.split)

    def __len__(self) -> int:
        return self._table.num_rows

    def validate(self) -> None:
        """Check that all offsets and texts of the columns are sound, without decoding images.

        Raises:
            ShardError: they are not; reading rows could then crash the process.
        """
        try:
            self._table.validate(full=True)
        except pa.ArrowException as error:
            raise ShardError(
                f"Split {self.split!r} of {self.folder} is damaged: {error}. {_REMEDY}"
            ) from error

    def check_labelled(self) -> None:
        """Refuse a split in which images lack labels.

        Raises:
            ShardError: there are such images.
        """
        if self.num_labelled < len(self):
            raise ShardError(
                f"All images of split {self.split!r} of {self.folder} must have labels here, but "
                f"{len(self) - self.num_labelled} of {len(self)} have none. Choose a labelled split."
            )

    @property
    def num_classes(self) -> int:
        """C, the number of classes that labels may have."""
        return len(self.classes.names)

    @cached_property
    def names(self) -> list[str]:
        """Names of all images."""
        return self._table["name"].to_pylist()

    @cached_property
    def sizes(self) -> np.ndarray:
        """``(N, 2)`` native width and height."""
        return np.stack([self._table["width"].to_numpy(), self._table["height"].to_numpy()], axis=1)

    @cached_property
    def class_pixels(self) -> np.ndarray:
        """``(N, C)`` int64, pixels of each class in each image at native size; 0 where there is no label."""
        chunks = [np.asarray(chunk.flatten()) for chunk in self._table["class_pixels"].chunks]
        return np.concatenate(chunks).reshape(len(self), self.num_classes)

    def image_bytes(self, index: int) -> bytes:
        """The encoded image of a row."""
        return self._table["image"][index].as_py()

    def label_bytes(self, index: int) -> bytes | None:
        """The label of a row as an encoded 8-bit picture of train ids; None where there is none."""
        return self._table["label"][index].as_py()


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest of a folder of shards.

    Returns:
        version, layout, classes (see ``pgpc.classes.classes_to_json``), splits: name to count, labelled (rows with a
        label), class_pixels (C totals) and files (name, rows, size in bytes, sha256).

    Raises:
        ShardError: there is none, or it cannot be read, or it is of another version.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ShardError(
            f"A folder of shards has a {MANIFEST}, but {folder} has none. Pack a data set with `pgpc pack`."
        )
    try:
        manifest = json.loads(path.read_text())
        version, _, _ = manifest["version"], manifest["classes"], manifest["splits"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} is damaged: {error!r}. {_REMEDY}") from error
    if version != VERSION:
        raise ShardError(f"Shards must be of version {VERSION}, but {path} says {version!r}. {_REMEDY}")
    return manifest


def verify(folder: Path | str, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Read all of a folder of shards: the checksum of every file, and every row, which is decoded.

    Args:
        folder: as packed.
        on_progress: called with (rows done, rows in all).

    Raises:
        ShardError: all that is wrong, one line each.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = changed_files(folder)
    total = sum(split["count"] for split in manifest["splits"].values())
    done = 0
    for split in manifest["splits"]:
        try:
            shards = Shards.open(folder, split)
            shards.validate()
        except ShardError as error:
            problems.append(str(error))
            continue
        for row in range(len(shards)):
            try:
                _check_row(shards, row)
            except Exception as error:  # damaged bytes make decoders fail in many ways
                problems.append(f"{shards.names[row]} ({split}): {error}")
            done += 1
            if on_progress is not None:
                on_progress(done, total)
    if problems:
        raise ShardError("\n".join([f"{folder} is damaged. {_REMEDY}", *problems]))


def changed_files(folder: Path | str, *, max_bytes: int | None = None) -> list[str]:
    """What is wrong with the checksums of a folder of shards, one line per file whose contents changed.

    Args:
        folder: as packed.
        max_bytes: read nothing where the files are larger than this together; None reads whatever there is.
    """
    files = [file for split in read_manifest(folder)["splits"].values() for file in split["files"]]
    if max_bytes is not None and sum(file["size"] for file in files) > max_bytes:
        return []
    paths = {Path(folder) / file["name"]: file for file in files}
    return [
        f"{path}: the contents changed since they were packed (sha256 differs)"
        for path, file in paths.items()
        if path.is_file() and path.stat().st_size == file["size"] and sha256(path) != file["sha256"]
    ]


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _open_file(folder: Path, file: dict[str, Any], num_classes: int) -> pa.Table:
    path = folder / file["name"]
    if not path.is_file():
        raise ShardError(f"Shard {path} is missing. {_REMEDY}")
    size = path.stat().st_size
    if size != file["size"]:
        state = "truncated" if size < file["size"] else "too long"
        raise ShardError(
            f"Shard {path} is {state}: {size} bytes, the manifest says {file['size']}. {_REMEDY}"
        )
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path)), options=_READ).read_all()
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"Shard {path} is damaged: {error}. {_REMEDY}") from error
    if table.num_rows != file["rows"] or not table.schema.equals(schema(num_classes)):
        raise ShardError(f"Shard {path} has other rows or columns than the manifest says. {_REMEDY}")
    return table


def _check_row(shards: Shards, row: int) -> None:
    width, height = shards.sizes[row]
    shape = decode_image(shards.image_bytes(row)).shape
    if shape != (height, width, 3):
        raise ValueError(f"image is {shape[1]} x {shape[0]}, its row says {width} x {height}")
    encoded = shards.label_bytes(row)
    if encoded is None:
        return
    label = decode_label(encoded)
    if label.shape != (height, width):
        raise ValueError(f"label is {label.shape[1]} x {label.shape[0]}, its row says {width} x {height}")
    counts = count_ids(label)
    if not np.array_equal(counts[: shards.num_classes], shards.class_pixels[row]):
        raise ValueError("label has other numbers of pixels per class than its row says")
    if counts[shards.num_classes : IGNORE_INDEX].any():
        raise ValueError(f"label has ids other than 0..{shards.num_classes - 1} and {IGNORE_INDEX}")
