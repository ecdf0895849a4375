"""Packing of folders into shards: every image and label is checked once, here, so that training need not."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pgpc.data.layouts.known import find_layout
from pgpc.data.pixel_form import BITS, MAX_BANDS, PixelForm
from pgpc.data.plain_folders import with_folders
from pgpc.data.shards.manifest import (
    MANIFEST,
    Manifest,
    ShardError,
    SplitManifest,
    read_manifest,
)
from pgpc.data.shards.parallel import in_parallel
from pgpc.data.shards.partial import PackSettings, Partial, file_sizes, open_partial
from pgpc.data.shards.source import LabelsLie, PackSource
from pgpc.data.shards.writer import Row, SplitWriter
from pgpc.runtime import storage
from pgpc.runtime.checks import check
from pgpc.runtime.lease import LEASE
from pgpc.runtime.locks import FolderInUseError


class PackError(ValueError):
    """Images or labels cannot be packed, all of which the message lists; or shards cannot be written."""


class Packed(NamedTuple):
    """The result of :func:`pack`.

    Attributes:
        manifest: The manifest of the shards.
        up_to_date: True where the shards were there already and nothing was done.
        unused: Files of the data set that look like pictures, and of which nothing is in the shards.
        notes: Sentences on what the names of the files say otherwise than they are taken.
    """

    manifest: Manifest
    up_to_date: bool
    unused: Sequence[Path] = ()
    notes: Sequence[str] = ()


def pack(
    layout: str,
    root: Path | str,
    out: Path | str,
    *,
    splits: Sequence[str] | None = None,
    description: Path | None = None,
    image_suffixes: Sequence[str] = (),
    label_suffixes: Sequence[str] = (),
    lists: Mapping[str, Path] | None = None,
    labels: Path | None = None,
    labels_lie: LabelsLie = "upright",
    bands: int | None = None,
    bits: int = 8,
    skip_bad: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Check a data set and write it as shards.

    Images are stored losslessly as tiles, pixel for pixel the same (see ``pgpc.data.tiles``): training then decodes
    only the part that a crop needs. JPEG and WebP files are stored as they are on disk, for their pixels would take
    many times the space in any lossless form. Values are neither scaled nor clipped, whatever the bits; of all but RGB
    of 8 bits the mean and the standard deviation of each band are kept, by which images are normalized. Labels are
    train ids, in one tile each, since they are always read as a whole.

    The shards appear when all is written; until then, and after an error, `out` is as it was. Shards of the same,
    unchanged files are left alone. A run that is interrupted keeps the shard files that it finished in
    ``.{out}.partial`` beside `out` (for S3, in the cache), and the next with the same arguments continues from there.

    Args:
        layout: The name of the layout of `root`.
        root: The folder of the data set.
        out: The folder for the shards, new, empty, or with shards, which are replaced; or its address on S3.
        splits: The splits to pack; None packs all splits of the layout that exist.
        description: The JSON file that says what the labels of layout "folder" mean.
        image_suffixes: What the names of images of layout "folder" end with.
        label_suffixes: What the names of their labels end with in place of that.
        lists: Files that list the images of each split of layout "folder", instead of `splits`.
        labels: The folder of labels of layout "folder", where `root` is a folder of photos itself.
        labels_lie: How labels lie whose photo EXIF says to turn: as the photo is shown, or as its pixels are stored.
        bands: The number of bands that all images must have; None takes that of the layout, which is 3 for most.
        bits: The bits that each band must have, 8 or 16.
        skip_bad: True to leave out images that cannot be packed; the manifest lists them.
        on_progress: A function that is called with (images done, images in all) after each image.

    Raises:
        ValueError: The layout or a split is unknown, `bands` or `bits` are none that images have, `out` holds other
            files, or another process packs into it.
        FileNotFoundError: A folder is missing.
        PackError: Images or labels cannot be packed, or `out` cannot be written.
        OSError: S3 cannot be reached.
    """
    known = find_layout(layout, description, image_suffixes=image_suffixes, label_suffixes=label_suffixes)
    known = with_folders(known, Path(root), labels)
    pixels = PixelForm(known.bands if bands is None else bands, bits)
    check(1 <= pixels.bands <= MAX_BANDS, f"bands must lie in [1, {MAX_BANDS}]", bands)
    check(bits in BITS, "bits must be 8 or 16", bits)
    source = PackSource.scan(known, Path(root), splits, labels_lie=labels_lie, lists=lists, pixels=pixels)
    out = out.rstrip("/") if storage.is_url(out) else Path(out).resolve()
    old = _check_replaceable(out)
    if old is not None and old.layout != layout:
        raise ValueError(
            f"Shards are replaced by those of the same layout only, but {out} holds a data set of layout "
            f"{old.layout!r} and {layout!r} was given. Choose another folder, or delete it."
        )
    fingerprint = source.fingerprint()
    unused = source.unused()
    packed = functools.partial(Packed, unused=unused, notes=source.notes(unused))
    if old is not None and old.fingerprint == fingerprint and (skip_bad or not old.skipped):
        return packed(old, up_to_date=True)
    work = _Work(source, skip_bad, on_progress)
    with _writable(out), open_partial(out, PackSettings(fingerprint, skip_bad)) as partial:
        manifest = work.write(partial, fingerprint)
        partial.publish(manifest)
    return packed(manifest, up_to_date=False)


class _Work:
    """The rows of a data set on their way to the disk.

    Args:
        source: The data set.
        skip_bad: True to leave out images that cannot be packed.
        on_progress: A function that is called with (images done, images in all).
    """

    def __init__(self, source: PackSource, skip_bad: bool, on_progress: Callable[[int, int], None] | None) -> None:
        self._source, self._skip_bad, self._on_progress = source, skip_bad, on_progress
        self._done = 0
        self._skipped = source.lonely_labels()
        self._problems = [] if skip_bad else [image.problem for image in self._skipped]

    def write(self, partial: Partial, fingerprint: str) -> Manifest:
        """Write all splits.

        Args:
            partial: The place of the files, with those that an interrupted run finished.
            fingerprint: The checksum of the data set.

        Returns:
            The manifest of the files.

        Raises:
            PackError: Images or labels cannot be packed.
        """
        splits: dict[str, SplitManifest] = {}
        for split in self._source.items:
            writer = self._write_rows(partial, split)
            if self._problems:
                continue  # the other splits are only checked
            splits[split], skipped = writer.close()
            self._skipped += skipped
            if not splits[split].count:
                lines = [f"No image of split {split!r} of {self._source.root} can be packed:"]
                raise PackError("\n".join(lines + [image.problem for image in skipped]))
        if self._problems:
            number = len(self._problems)
            first = (
                f"{number} problem{'s' * (number != 1)} in the {self._source.num_images} images of "
                f"{self._source.root}; nothing was written. Mend or remove these files, or leave them out (--skip-bad):"
            )
            raise PackError("\n".join([first, *self._problems]))
        return Manifest(
            layout=self._source.layout.name,
            classes=self._source.layout.classes,
            fingerprint=fingerprint,
            skipped=tuple(self._skipped),
            splits=splits,
            pixels=self._source.pixels,
        )

    def _write_rows(self, partial: Partial, split: str) -> SplitWriter:
        """Write the rows of a split, up to the first problem; the images after it are only checked."""
        finished = [entry for entry in partial.finished if entry.split == split]
        writer = SplitWriter(partial.shards, split, len(self._source.layout.classes.names), finished, partial.keep)
        self._count(writer.num_items)
        rest = self._source.items[split][writer.num_items :]
        for item, row in zip(rest, in_parallel(functools.partial(self._source.read_row, split), rest)):
            if isinstance(row, Row):
                if not self._problems:
                    writer.add(row)
            elif self._skip_bad:
                writer.skip(item.name, row)
            else:
                self._problems.append(row)
            self._count(1)
        return writer

    def _count(self, images: int) -> None:
        self._done += images
        if images and self._on_progress is not None:
            self._on_progress(self._done, self._source.num_images)


def _check_replaceable(out: Path | str) -> Manifest | None:
    """Return the manifest of the shards in `out`, if it is sound; raise an error if `out` holds anything else."""
    if storage.is_url(out):
        sizes = storage.sizes(out)
    elif Path(out).exists() and not Path(out).is_dir():
        raise ValueError(f"Shards are written into a folder, but {out} is a file. Choose another folder.")
    else:
        sizes = file_sizes(Path(out))
    others = [name for name in sizes if name not in (MANIFEST, LEASE) and not re.fullmatch(r"[^/]+\.arrow", name)]
    if others:
        raise ValueError(
            f"The folder for shards must be new, empty or hold shards, which are replaced, but {out} holds "
            f"{', '.join(sorted(others)[:5])}. Choose another folder."
        )
    try:
        manifest = read_manifest(out)
    except ShardError:
        return None
    complete = all(sizes.get(file.name) == file.size for file in manifest.files())
    return manifest if complete and manifest.skipped is not None else None


@contextlib.contextmanager
def _writable(out: Path | str) -> Iterator[None]:
    """Raise errors of writing with advice for a disk that is full or may not be written."""
    try:
        yield
    except (storage.StorageError, FolderInUseError):
        raise
    except OSError as error:
        where = storage.cache_folder() if storage.is_url(out) else Path(out).parent
        raise PackError(
            f"{where} cannot be written: {error}. Nothing was packed. Free space or give permission there, or "
            f"{'set PGPC_CACHE to' if storage.is_url(out) else 'choose'} another folder."
        ) from error
