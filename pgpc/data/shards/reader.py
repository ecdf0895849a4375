"""Shards: packed splits as Arrow IPC files that are mapped into memory, one row per image.

A folder, here or on S3, holds ``manifest.json`` and the Arrow files that it lists for each split. Their columns are
name, image and label (encoded; the label may be null), width, height, and class_pixels (C counts at native size).
Images and labels are stored losslessly as tiles (``pgpc.data.tiles``), images of lossy formats as the files that they
were. Nothing is compressed beyond that, so a row is read where it lies.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pgpc.runtime import storage
from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.data.shards.parallel import in_parallel
from pgpc.data.image_files import decode_image, decode_label
from pgpc.data.transforms import count_ids

VERSION = 3
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
    ])


class Shards:
    """One split of a folder of shards. Rows are read when asked for; a pickle holds only folder and split."""

    def __init__(self, folder: Path | str, split: str, manifest: dict[str, Any], tables: list[pa.Table]) -> None:
        """Use :meth:`open`."""
        self.folder = folder
        self.split = split
        self.classes = classes_from_json(manifest["classes"])
        # Concatenating tables makes a list of their chunks; the rows stay where they are.
        self._table = pa.concat_tables(tables)

    @classmethod
    def open(cls, folder: Path | str, split: str) -> Shards:
        """Open one split.

        Checks the manifest, and of each file the size, the Arrow footer, the number of rows, and all offsets and
        names, so that no row can be read out of bounds; :func:`verify` checks the contents too.

        Args:
            folder: a folder, or its address on S3 (``s3://..``). Files on S3 are downloaded when a machine first
                opens them, checked, and kept in a cache (see ``pgpc.runtime.storage.cached``).
            split: name of the split.

        Raises:
            ShardError: no manifest, no such split, or a file that is not what the manifest says.
            OSError: S3 cannot be reached, or the cache cannot be written.
        """
        folder = folder if storage.is_url(folder) else Path(folder)
        manifest = read_manifest(folder)
        if split not in manifest["splits"]:
            raise ShardError(
                f"{folder} has the splits {', '.join(manifest['splits'])}, but {split!r} was asked for. "
                "Name one of these, or pack that split too."
            )
        tables = [
            _open_file(_local(folder, file), storage.join(folder, file["name"]), file, manifest)
            for file in manifest["splits"][split]["files"]
        ]
        return cls(folder, split, manifest, tables)

    def __reduce__(self) -> tuple[Callable[..., Shards], tuple[Path | str, str]]:
        return Shards.open, (self.folder, self.split)

    def __len__(self) -> int:
        return self._table.num_rows

    def check_labeled(self) -> None:
        """Refuse a split in which images lack labels.

        Raises:
            ShardError: there are such images.
        """
        if self.num_labeled < len(self):
            raise ShardError(
                f"All images of split {self.split!r} of {self.folder} must have labels here, but "
                f"{len(self) - self.num_labeled} of {len(self)} have none. Choose a labeled split."
            )

    @cached_property
    def num_labeled(self) -> int:
        """Rows with a label."""
        return len(self) - self._table["label"].null_count

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

    def size(self, index: int) -> tuple[int, int]:
        """Native width and height of one image."""
        width, height = self.sizes[index].tolist()
        return width, height

    @cached_property
    def class_pixels(self) -> np.ndarray:
        """``(N, C)`` int64, pixels of each class in each image at native size; 0 where there is no label."""
        chunks = [np.asarray(chunk.flatten()) for chunk in self._table["class_pixels"].chunks]
        return np.concatenate(chunks).reshape(len(self), self.num_classes)

    def image_bytes(self, index: int) -> memoryview:
        """The encoded image of a row, where it lies: tiles that are not decoded are not read from the disk."""
        return memoryview(self._table["image"][index].as_buffer()).cast("B")

    def label_bytes(self, index: int) -> bytes | None:
        """The label of a row as encoded train ids; None where there is none."""
        return self._table["label"][index].as_py()


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest of a folder of shards.

    Args:
        folder: a folder, or its address on S3.

    Returns:
        version; layout; classes (see ``pgpc.classes.classes_to_json``); fingerprint of what was packed; skipped, a list
        of the images that were left out, each with split, name and problem; splits: name to count, labeled (rows with
        a label), class_pixels (C pixel counts), class_images (C counts of the images that show a class) and files
        (name, rows, size in bytes, sha256).

    Raises:
        ShardError: there is none, or it cannot be read, or it is of another version.
        OSError: S3 cannot be reached.
    """
    path = storage.join(folder, MANIFEST)
    try:
        text = storage.read(path) if storage.is_url(path) else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(
            f"A folder of shards has a {MANIFEST}, but {folder} has none. Pack a data set with `pgpc pack`."
        ) from error
    try:
        manifest = json.loads(text)
        version = manifest["version"]
        # Of another version nothing more is known.
        sound = version != VERSION or _is_sound(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} is damaged: {error!r}. {_REMEDY}") from error
    if version != VERSION:
        raise ShardError(f"Shards must be of version {VERSION}, but {path} says {version!r}. {_REMEDY}")
    if not sound:
        raise ShardError(f"{path} is damaged: its splits do not add up. {_REMEDY}")
    return manifest


def verify(folder: Path | str, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Read all of a folder of shards: the checksum of every file, and every row, which is decoded.

    Files on S3 are downloaded one at a time and not kept.

    Args:
        folder: as packed; a folder, or its address on S3.
        on_progress: called with (rows done, rows in all).

    Raises:
        ShardError: all that is wrong, one line each.
        OSError: S3 cannot be reached, or there is no room for a file of it.
    """
    manifest = read_manifest(folder)
    total = sum(split["count"] for split in manifest["splits"].values())
    problems: list[str] = []
    done = 0
    for split, entry in manifest["splits"].items():
        tables = []
        for file in entry["files"]:
            try:
                with _fresh_copy(folder, file) as path:
                    problems += _changed(path, storage.join(folder, file["name"]), file)
                    tables.append(_open_file(path, storage.join(folder, file["name"]), file, manifest))
            except ShardError as error:
                problems.append(str(error))
                continue
            shards = Shards(folder, split, manifest, tables[-1:])
            for problem in in_parallel(lambda row, shards=shards: _row_problem(shards, row), range(len(shards))):
                problems += problem
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
        if len(tables) == len(entry["files"]):
            problems += _miscounted(Shards(folder, split, manifest, tables), entry)
    if problems:
        raise ShardError("\n".join([f"{folder} is damaged. {_REMEDY}", *problems]))


def changed_files(folder: Path | str, *, max_bytes: int | None = None) -> list[str]:
    """What is wrong with the checksums of a folder of shards, one line per file whose contents changed.

    Args:
        folder: as packed. Nothing is read of one on S3, whose files are checked as they are downloaded.
        max_bytes: read nothing where the files are larger than this together; None reads whatever there is.
    """
    if storage.is_url(folder):
        return []
    files = [file for split in read_manifest(folder)["splits"].values() for file in split["files"]]
    if max_bytes is not None and sum(file["size"] for file in files) > max_bytes:
        return []
    paths = {Path(folder) / file["name"]: file for file in files}
    return [line for path, file in paths.items() for line in _changed(path, path, file)]


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_sound(manifest: dict[str, Any]) -> bool:
    """Whether all that is read of a manifest has the form that it must have."""
    classes_from_json(manifest["classes"])
    return all(
        isinstance(split["files"], list)
        and split["files"]
        and all(_is_sound_file(file) for file in split["files"])
        and split["count"] == sum(file["rows"] for file in split["files"])
        and len(split["class_pixels"]) == len(manifest["classes"])
        for split in manifest["splits"].values()
    )


def _is_sound_file(file: dict[str, Any]) -> bool:
    return (
        # No name leads out of the folder, and no checksum out of the cache.
        re.fullmatch(r"[^/\0]+\.arrow", file["name"]) is not None
        and re.fullmatch("[0-9a-f]{64}", file["sha256"]) is not None
        and all(type(file[key]) is int and file[key] > 0 for key in ("rows", "size"))
    )


def _local(folder: Path | str, file: dict[str, Any]) -> Path:
    """Where a shard file lies on this machine."""
    path = storage.join(folder, file["name"])
    if not storage.is_url(path):
        return path
    try:
        return storage.cached(path, file["sha256"], file["size"])
    except FileNotFoundError as error:
        raise ShardError(f"Shard {path} is missing. {_REMEDY}") from error
    except ValueError as error:
        raise ShardError(f"Shard {error} {_REMEDY}") from error


@contextmanager
def _fresh_copy(folder: Path | str, file: dict[str, Any]) -> Iterator[Path]:
    """A shard file as it is now; one on S3 is not taken from the cache, and not put there."""
    where = storage.join(folder, file["name"])
    if not storage.is_url(where):
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="pgpc-check-") as temporary:
        path = Path(temporary) / file["name"]
        storage.download(where, path)
        yield path


def _changed(path: Path, where: Path | str, file: dict[str, Any]) -> list[str]:
    """A line if a file that has the size it should have has other contents."""
    if not path.is_file() or path.stat().st_size != file["size"] or sha256(path) == file["sha256"]:
        return []
    return [f"{where}: the contents changed since they were packed (sha256 differs)"]


def _open_file(path: Path, where: Path | str, file: dict[str, Any], manifest: dict[str, Any]) -> pa.Table:
    """Map a shard file and check its outline; `where` is what messages call it."""
    if not path.is_file():
        raise ShardError(f"Shard {where} is missing. {_REMEDY}")
    size = path.stat().st_size
    if size != file["size"]:
        state = "truncated" if size < file["size"] else "too long"
        raise ShardError(f"Shard {where} is {state}: {size} bytes, the manifest says {file['size']}. {_REMEDY}")
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path)), options=_READ).read_all()
        # Offsets must be sound, or reading a row would crash the process. This looks at offsets, names and numbers
        # only, never at a page of an image: less work than opening the file was.
        table.validate(full=True)
        nulls = [table[name].null_count for name in table.column_names if name != "label"]
        nulls += [chunk.values.null_count for chunk in table["class_pixels"].chunks]
        empty = any(side < 1 for name in ("width", "height") for side in table[name].to_pylist())
    except Exception as error:  # damaged bytes make the reader fail in many ways
        raise ShardError(f"Shard {where} is damaged: {error}. {_REMEDY}") from error
    if table.num_rows != file["rows"] or not table.schema.equals(schema(len(manifest["classes"]))) or any(nulls):
        raise ShardError(f"Shard {where} has other rows or columns than the manifest says. {_REMEDY}")
    if empty:
        raise ShardError(f"Shard {where} is damaged: it has images without pixels. {_REMEDY}")
    return table


def _row_problem(shards: Shards, row: int) -> list[str]:
    """A line if a row cannot be decoded or is not what its numbers say."""
    try:
        _check_row(shards, row)
    except Exception as error:  # damaged bytes make decoders fail in many ways
        return [f"{shards.names[row]} ({shards.split}): {error}"]
    return []


def _miscounted(shards: Shards, entry: dict[str, Any]) -> list[str]:
    """A line if a split's numbers in the manifest are not those of its rows."""
    counts = {
        "labelled": shards.num_labeled,
        "class_pixels": shards.class_pixels.sum(0).tolist(),
        "class_images": (shards.class_pixels > 0).sum(0).tolist(),
    }
    # Shards packed by an earlier release lack class_images.
    wrong = [key for key, count in counts.items() if entry.get(key, count) != count]
    return [f"{MANIFEST}: {', '.join(wrong)} of split {shards.split!r} are not those of its rows"] if wrong else []


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
