"""Checks of shards that read all of them: the checksum of every file, and every row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pgpc.classes import IGNORE_INDEX
from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.data.shards.manifest import MANIFEST, REMEDY, FileEntry, ShardError, SplitManifest, read_manifest
from pgpc.data.shards.parallel import in_parallel
from pgpc.data.shards.reader import Shards, open_table
from pgpc.data.transforms import count_ids
from pgpc.runtime import storage
from pgpc.runtime.files import scratch_folder, sha256


def verify(folder: Path | str, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Read all of a folder of shards: the checksum of every file, and every row, which is decoded.

    Files on S3 are downloaded one at a time and not kept.

    Args:
        folder: A folder of shards, or its address on S3.
        on_progress: A function that is called with (rows done, rows in all) after each row.

    Raises:
        ShardError: The shards are damaged; the message has a line for each fault.
        OSError: S3 cannot be reached, or there is no room for a file of it.
    """
    manifest = read_manifest(folder)
    num_classes = len(manifest.classes.names)
    total = sum(split.count for split in manifest.splits.values())
    problems: list[str] = []
    done = 0
    for name, split in manifest.splits.items():
        tables = []
        for file in split.files:
            where = storage.join(folder, file.name)
            try:
                with _fresh_copy(folder, file) as path:
                    problems += _changed(path, where, file)
                    tables.append(open_table(path, where, file, num_classes))
            except ShardError as error:
                problems.append(str(error))
                continue
            shards = Shards(folder, name, manifest.classes, tables[-1:], pixels=manifest.pixels)
            for problem in in_parallel(functools.partial(_row_problem, shards), range(len(shards))):
                problems += problem
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
        if len(tables) == len(split.files):
            problems += _miscounted(Shards(folder, name, manifest.classes, tables), split)
    if problems:
        raise ShardError("\n".join([f"{folder} is damaged. {REMEDY}", *problems]))


def changed_files(folder: Path | str, *, max_bytes: int | None = None) -> list[str]:
    """Compare the files of a folder of shards with their checksums.

    Args:
        folder: A folder of shards. Nothing is read of one on S3, whose files are checked as they are downloaded.
        max_bytes: The limit of the size of all files together, in bytes, beyond which nothing is read; None reads
            them whatever their size.

    Returns:
        A line for each file whose contents changed.
    """
    if storage.is_url(folder):
        return []
    files = read_manifest(folder).files()
    if max_bytes is not None and sum(file.size for file in files) > max_bytes:
        return []
    paths = {Path(folder) / file.name: file for file in files}
    return [line for path, file in paths.items() for line in _changed(path, path, file)]


@contextmanager
def _fresh_copy(folder: Path | str, file: FileEntry) -> Iterator[Path]:
    """Yield the path of a shard file as it is now; one on S3 is neither taken from the cache nor put there."""
    if not storage.is_url(folder):
        yield Path(folder) / file.name
        return
    with scratch_folder("pgpc-check-") as temporary:
        path = temporary / file.name
        storage.download(storage.join_url(folder, file.name), path)
        yield path


def _changed(path: Path, where: Path | str, file: FileEntry) -> list[str]:
    """Return a line if a file that has the size it should have has other contents."""
    if not path.is_file() or path.stat().st_size != file.size or sha256(path) == file.sha256:
        return []
    return [f"{where}: the contents changed since they were packed (sha256 differs)"]


def _row_problem(shards: Shards, row: int) -> list[str]:
    """Return a line if a row cannot be decoded or is not what its numbers say."""
    try:
        _check_row(shards, row)
    except Exception as error:  # damaged bytes make decoders fail in many ways
        return [f"{shards.names[row]} ({shards.split}): {error}"]
    return []


def _miscounted(shards: Shards, split: SplitManifest) -> list[str]:
    """Return a line if a split's numbers in the manifest are not those of its rows."""
    class_pixels = tuple(shards.class_pixels.sum(0).tolist())
    class_images = tuple((shards.class_pixels > 0).sum(0).tolist())
    differs = {  # by the names in the file, which the user may look up
        "labelled": split.labeled != shards.num_labeled,
        "class_pixels": split.class_pixels != class_pixels,
        "class_images": split.class_images not in (None, class_images),
    }
    wrong = [name for name, is_wrong in differs.items() if is_wrong]
    return [f"{MANIFEST}: {', '.join(wrong)} of split {shards.split!r} are not those of its rows"] if wrong else []


def _check_row(shards: Shards, row: int) -> None:
    width, height = shards.sizes[row]
    shape = decode_image(shards.image_bytes(row), form=shards.pixels).shape
    if shape[:2] != (height, width):
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
