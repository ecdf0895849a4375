"""Folders to shards: every image and label is checked once, here, so that training need not."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgpc.runtime import storage
from pgpc.classes import classes_to_json
from pgpc.data.shards import writer as shard_writer
from pgpc.data.folders import Item, Layout
from pgpc.data.layouts import layout as find_layout
from pgpc.data.shards.parallel import in_parallel
from pgpc.data.shards.partial import file_sizes, open_partial
from pgpc.data.image_files import decode_image, is_lossless, read_file
from pgpc.data.shards.writer import Row, SplitWriter
from pgpc.data.shards.reader import MANIFEST, VERSION, ShardError, read_manifest
from pgpc.data.tiles import encode_tiles
from pgpc.data.transforms import count_ids


class PackError(ValueError):
    """Images or labels that cannot be packed, all of which the message lists; or shards that cannot be written."""


class Packed(NamedTuple):
    """What :func:`pack` did.

    Attributes:
        manifest: of the shards.
        up_to_date: they were there already; nothing was done.
    """

    manifest: dict[str, Any]
    up_to_date: bool


def pack(
    layout: str,
    root: Path | str,
    out: Path | str,
    *,
    splits: Sequence[str] | None = None,
    description: Path | None = None,
    skip_bad: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Check a data set and write it as shards.

    Images that are PNG or BMP files are stored losslessly as tiles, pixel for pixel the same (see ``pgpc.data.tiles``):
    training then decodes only the part that a crop needs. Those of lossy formats (JPEG, WebP) are stored as they are on
    disk, for their pixels would take many times the space in any lossless form. Labels are train ids, in one tile each,
    since they are always read as a whole.

    The shards appear when all is written; until then, and after an error, `out` is as it was. Shards of the same,
    unchanged files are left alone. A run that is interrupted keeps the shard files that it finished in
    ``.{out}.partial`` beside `out` (for S3, in the cache), and the next with the same arguments goes on from there.

    Args:
        layout: name of the layout of `root`.
        root: folder of the data set.
        out: folder for the shards, new, empty, or with shards, which are replaced; or its address on S3.
        splits: what to pack; all splits of the layout that exist when None.
        description: for layout "folder", the JSON file that says what its labels mean.
        skip_bad: leave out images that cannot be packed; the manifest lists them.
        on_progress: called with (images done, images in all) after each image.

    Raises:
        ValueError: an unknown layout or split; an `out` that holds other files, or that another process packs into.
        FileNotFoundError: a folder is missing.
        PackError: images or labels that cannot be packed, or an `out` that cannot be written.
        OSError: S3 cannot be reached.
    """
    source = find_layout(layout, description)
    items = _scan(source, Path(root), splits)
    out = out.rstrip("/") if storage.is_url(out) else Path(out).resolve()
    old = _check_replaceable(out)
    if old is not None and old.get("layout") != layout:
        raise ValueError(
            f"Shards are replaced by those of the same layout only, but {out} holds a data set of layout "
            f"{old.get('layout')!r} and {layout!r} was given. Choose another folder, or delete it."
        )
    fingerprint = _fingerprint(source, Path(root), items)
    if old is not None and old.get("fingerprint") == fingerprint and (skip_bad or not old["skipped"]):
        return Packed(old, up_to_date=True)
    manifest: dict[str, Any] = {
        "version": VERSION,
        "layout": layout,
        "classes": classes_to_json(source.classes),
        "fingerprint": fingerprint,
        "skipped": [],
        "splits": {},
    }
    problems: list[str] = []
    lonely = {split: source.lonely_labels(root, split, images) for split, images in items.items()}
    for split, files in lonely.items():
        names = [_shown(file, Path(root)) for file in files]
        manifest["skipped"] += [
            {"split": split, "name": name, "problem": f"{name}: its image is missing"} for name in names
        ]
    if not skip_bad:
        problems = [image["problem"] for image in manifest["skipped"]]
    progress = _Counter(sum(map(len, items.values())), on_progress)
    with _writable(out), open_partial(out, {"fingerprint": fingerprint, "skip_bad": skip_bad}) as partial:
        for split, images in items.items():
            finished = [entry for entry in partial.finished if entry["split"] == split]
            writer = SplitWriter(partial.shards, split, len(source.classes.names), finished, partial.keep)
            progress.add(writer.num_items)
            rest = images[writer.num_items :]
            for item, row in zip(rest, in_parallel(functools.partial(_read, source, Path(root), split), rest)):
                if not isinstance(row, Row):
                    if skip_bad:
                        writer.skip(item.name, row)
                    else:
                        problems.append(row)
                elif not problems:  # after a problem the rest is only checked
                    writer.add(row)
                progress.add(1)
            if problems:
                continue
            manifest["splits"][split], skipped = writer.close()
            manifest["skipped"] += skipped
            if not manifest["splits"][split]["count"]:
                lines = [f"No image of split {split!r} of {root} can be packed:", *(i["problem"] for i in skipped)]
                raise PackError("\n".join(lines))
        if problems:
            first = (
                f"{len(problems)} problems in the {progress.total} images of {root}; nothing was written. "
                "Mend or remove these files, or leave them out (--skip-bad):"
            )
            raise PackError("\n".join([first, *problems]))
        partial.publish(manifest)
    return Packed(manifest, up_to_date=False)


def _read(layout: Layout, root: Path, split: str, item: Item) -> Row | str:
    """One row, or what is wrong with it."""
    file = item.image
    try:
        item.name.encode()  # the shards' names are UTF-8
        image = read_file(file)
        pixels = decode_image(image)
        height, width = pixels.shape[:2]
        if is_lossless(image):
            image = encode_tiles(pixels)
        if item.label is None:
            if layout.needs_label(split):
                raise ValueError(f"its label file is missing, which split {split!r} needs")
            return Row(item.name, image, None, width, height, np.zeros(len(layout.classes.names), dtype=np.int64))
        file = item.label
        label = layout.read_label(file)
        if label.shape != (height, width):
            raise ValueError(f"label is {label.shape[1]} x {label.shape[0]}, its image is {width} x {height}")
    # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        return f"{_shown(file, root)}: {error}"
    counts = count_ids(label)[: len(layout.classes.names)]
    return Row(item.name, image, encode_tiles(label, side=max(width, height)), width, height, counts)


def _shown(file: Path, root: Path) -> str:
    """A file's path for messages; names of files need not be text."""
    return os.path.relpath(file, root).encode(errors="backslashreplace").decode()


def _scan(layout: Layout, root: Path, splits: Sequence[str] | None) -> dict[str, list[Item]]:
    """The images of each split."""
    if splits is not None:
        splits = tuple(dict.fromkeys(splits))
        layout.check_splits(splits)
        return {split: layout.scan(root, split) for split in splits}
    items, missing = {}, None
    for split in layout.splits:
        try:
            items[split] = layout.scan(root, split)
        except FileNotFoundError as error:
            missing = missing or error
    if not items:
        raise missing
    return items


def _fingerprint(layout: Layout, root: Path, items: dict[str, list[Item]]) -> str:
    """Changes with everything that the shards depend on; a file counts as changed when its size or time is."""

    def state(file: Path | None) -> tuple[str, int, int] | None:
        if file is None:
            return None
        try:
            status = file.stat()
        except OSError:  # reading it will say more
            return os.path.relpath(file, root), -1, -1
        return os.path.relpath(file, root), status.st_size, status.st_mtime_ns

    files = {
        split: [(item.name, state(item.image), state(item.label)) for item in of_split]
        for split, of_split in items.items()
    }
    ids = hashlib.sha256(layout.raw_ids.tobytes()).hexdigest()
    bounds = [shard_writer.MAX_FILE_BYTES, shard_writer.BATCH_BYTES]
    parts = [VERSION, bounds, layout.name, ids, classes_to_json(layout.classes), files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _Counter:
    """Counts images for the caller's progress."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.total, self._on_progress, self._done = total, on_progress, 0

    def add(self, images: int) -> None:
        self._done += images
        if images and self._on_progress is not None:
            self._on_progress(self._done, self.total)


def _check_replaceable(out: Path | str) -> dict[str, Any] | None:
    """Refuse an `out` that holds anything but shards; the manifest of those that it holds, if it is sound."""
    if storage.is_url(out):
        sizes = storage.sizes(out)
    elif out.exists() and not out.is_dir():
        raise ValueError(f"Shards are written into a folder, but {out} is a file. Choose another folder.")
    else:
        sizes = file_sizes(out)
    others = [name for name in sizes if name != MANIFEST and not re.fullmatch(r"[^/]+\.arrow", name)]
    if others:
        raise ValueError(
            f"The folder for shards must be new, empty or hold shards, which are replaced, but {out} holds "
            f"{', '.join(sorted(others)[:5])}. Choose another folder."
        )
    try:
        manifest = read_manifest(out)
    except ShardError:
        return None
    files = [file for split in manifest["splits"].values() for file in split["files"]]
    complete = all(sizes.get(file["name"]) == file["size"] for file in files)
    return manifest if complete and isinstance(manifest.get("skipped"), list) else None


@contextlib.contextmanager
def _writable(out: Path | str) -> Iterator[None]:
    """Say what to do where the disk is full or may not be written."""
    try:
        yield
    except storage.StorageError:
        raise
    except OSError as error:
        where = storage.cache_folder() if storage.is_url(out) else out.parent
        raise PackError(
            f"{where} cannot be written: {error}. Nothing was packed. Free space or give permission there, or "
            f"{'set PGPC_CACHE to' if storage.is_url(out) else 'choose'} another folder."
        ) from error
