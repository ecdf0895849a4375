"""What a folder of shards says about itself: its manifest, and the columns of its files.

The names of the keys are those of the JSON on the disk, which must not change: "labelled" there is ``labeled`` here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pgpc.classes import ClassSet, classes_from_json, classes_to_json
from pgpc.data.pixel_form import BITS, MAX_BANDS, RGB, PixelForm
from pgpc.data.shards.label_totals import LabelTotals
from pgpc.data.shards.pixel_totals import PixelTotals
from pgpc.runtime import storage
from pgpc.runtime.files import expand_user
from pgpc.runtime.json_text import parse_json

VERSION = 3
"""Version of the format; a reader takes this one only."""
MANIFEST = "manifest.json"
"""Name of the manifest in a folder of shards."""
REMEDY = "Pack the data set again with `pgpc pack`."
"""Advice on shards that cannot be used, as the end of a message."""


class ShardError(ValueError):
    """A folder of shards is missing, damaged, or of another version."""


def schema(num_classes: int) -> pa.Schema:
    """Return the columns of a shard file, for C classes."""
    return pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field("image", pa.large_binary(), nullable=False),
            pa.field("label", pa.large_binary()),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("class_pixels", pa.list_(pa.int64(), num_classes), nullable=False),
        ]
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """The manifest's entry of one shard file.

    Attributes:
        name: Name of the file in the folder, which never leads out of it.
        rows: Number of its rows, at least 1.
        size: Its size in bytes.
        sha256: Checksum of its contents, in hexadecimal.
    """

    name: str
    rows: int
    size: int
    sha256: str

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> FileEntry:
        """Return the entry that a JSON object describes.

        Raises:
            ValueError: A value is not of the form that it must have.
            KeyError: A value is missing.
            TypeError: A value is of another type.
        """
        # No name leads out of the folder, and no checksum out of the cache.
        sound = (
            re.fullmatch(r"[^/\0]+\.arrow", entry["name"]) is not None
            and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is not None
            and all(type(entry[key]) is int and entry[key] > 0 for key in ("rows", "size"))
        )
        if not sound:
            raise ValueError(f"it has no sound entry of a file: {entry!r:.200}")
        return cls(name=entry["name"], rows=entry["rows"], size=entry["size"], sha256=entry["sha256"])

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {"name": self.name, "rows": self.rows, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedImage:
    """An image, or a label without one, that was left out.

    Attributes:
        split: Split that it belongs to.
        name: Its name in the split.
        problem: A line that says what is wrong with it, and with which file.
    """

    split: str
    name: str
    problem: str

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> SkippedImage:
        """Return the image that a JSON object describes.

        Raises:
            KeyError: A value is missing.
            TypeError: The entry is no object.
        """
        return cls(split=entry["split"], name=entry["name"], problem=entry["problem"])

    def to_json(self) -> dict[str, Any]:
        """Return the image as a JSON object."""
        return {"split": self.split, "name": self.name, "problem": self.problem}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitManifest:
    """The manifest's entry of one split.

    Attributes:
        count: Number of images.
        labeled: Number of images with a label.
        class_pixels: Number of pixels of each of the C classes.
        class_images: Number of images that show each of the C classes; None where an earlier release did not count.
        files: Its shard files, in the order of the rows.
        totals: What else was counted of the labels; None where an earlier release did not.
        pixel_totals: Sums over the pixels of the images; None for RGB of 8 bits, where nothing depends on them.
    """

    count: int
    labeled: int
    class_pixels: tuple[int, ...]
    class_images: tuple[int, ...] | None
    files: tuple[FileEntry, ...]
    totals: LabelTotals | None = None
    pixel_totals: PixelTotals | None = None

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], num_classes: int, pixels: PixelForm = RGB) -> SplitManifest:
        """Return the split that a JSON object describes.

        Raises:
            ValueError: A value is not of the form that it must have, or its numbers do not add up.
            KeyError: A value is missing.
            TypeError: A value is of another type.
        """
        files = tuple(FileEntry.from_json(file) for file in entry["files"])
        class_images = entry.get("class_images")
        split = cls(
            count=entry["count"],
            labeled=entry["labelled"],
            class_pixels=tuple(entry["class_pixels"]),
            class_images=None if class_images is None else tuple(class_images),
            files=files,
            totals=None if entry.get("labels") is None else LabelTotals.from_json(entry["labels"]),
            pixel_totals=None if entry.get("pixels") is None else PixelTotals.from_json(entry["pixels"]),
        )
        if pixels != RGB and (split.pixel_totals is None or len(split.pixel_totals.sums) != pixels.bands):
            raise ValueError("its sums of pixels are not those of its bands")
        numbers = (split.count, split.labeled, *split.class_pixels, *(split.class_images or ()))
        sound = all(type(number) is int for number in numbers) and len(split.class_pixels) == num_classes
        if not files or not sound or split.count != sum(file.rows for file in files):
            raise ValueError("its splits do not add up")
        return split

    def to_json(self) -> dict[str, Any]:
        """Return the split as a JSON object."""
        return {
            "count": self.count,
            "labelled": self.labeled,
            "class_pixels": list(self.class_pixels),
            **({} if self.class_images is None else {"class_images": list(self.class_images)}),
            **({} if self.totals is None else {"labels": self.totals.to_json()}),
            **({} if self.pixel_totals is None else {"pixels": self.pixel_totals.to_json()}),
            "files": [file.to_json() for file in self.files],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The contents of ``manifest.json``, in version `VERSION`.

    Attributes:
        layout: Name of the layout that was packed; None where it is not known.
        classes: The classes, by train id.
        fingerprint: Checksum of everything that was packed; None where it is not known.
        skipped: Images that were left out; None where that is not known.
        splits: The splits by name.
        pixels: Bands and bits of the images.
    """

    layout: str | None
    classes: ClassSet
    fingerprint: str | None
    skipped: tuple[SkippedImage, ...] | None
    splits: Mapping[str, SplitManifest]
    pixels: PixelForm = RGB

    @classmethod
    def from_json(cls, manifest: Mapping[str, Any]) -> Manifest:
        """Return the manifest that a JSON object describes.

        Raises:
            ValueError: A value that reading needs is not of the form that it must have.
            KeyError: Such a value is missing.
            TypeError: Such a value is of another type.
            AttributeError: A list stands in the place of an object.
        """
        classes, pixels = classes_from_json(manifest["classes"]), _pixels_from_json(manifest.get("pixels"))
        return cls(
            layout=manifest.get("layout"),
            classes=classes,
            fingerprint=manifest.get("fingerprint"),
            skipped=_skipped_from_json(manifest.get("skipped")),
            splits={
                name: SplitManifest.from_json(split, len(classes.names), pixels)
                for name, split in manifest["splits"].items()
            },
            pixels=pixels,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object."""
        return {
            "version": VERSION,
            "layout": self.layout,
            "classes": classes_to_json(self.classes),
            **({} if self.pixels == RGB else {"pixels": self.pixels._asdict()}),
            "fingerprint": self.fingerprint,
            "skipped": [image.to_json() for image in self.skipped or ()],
            "splits": {name: split.to_json() for name, split in self.splits.items()},
        }

    def files(self) -> list[FileEntry]:
        """Return the entries of the files of all splits."""
        return [file for split in self.splits.values() for file in split.files]


def _pixels_from_json(entry: Any) -> PixelForm:
    """Return the bands and bits that a JSON object describes; those of photos where there is none."""
    if entry is None:
        return RGB
    pixels = PixelForm(bands=entry["bands"], bits=entry["bits"])
    if type(pixels.bands) is not int or not 1 <= pixels.bands <= MAX_BANDS or pixels.bits not in BITS:
        raise ValueError(f"its images have {pixels}")
    return pixels


def _skipped_from_json(entries: Any) -> tuple[SkippedImage, ...] | None:
    """Return the images that a list in JSON describes; None for anything else, since training does without."""
    if not isinstance(entries, list):
        return None
    try:
        return tuple(SkippedImage.from_json(entry) for entry in entries)
    except (KeyError, TypeError):
        return None


def place_of(where: str) -> Path | str:
    """Return the folder of packed shards that a config names, or its address on S3."""
    return where if storage.is_url(where) else expand_user(where)


def read_manifest(folder: Path | str) -> Manifest:
    """Read the manifest of a folder of shards.

    Args:
        folder: A folder, or its address on S3.

    Raises:
        ShardError: The folder has no manifest, or it cannot be read, or it is of another version.
        OSError: S3 cannot be reached.
    """
    path = storage.join(folder, MANIFEST)
    try:
        text = storage.read(path) if storage.is_url(path) else Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(_no_manifest(folder)) from error
    try:
        contents = parse_json(text)
        version = contents["version"]
        # Of another version nothing more is known.
        manifest = Manifest.from_json(contents) if version == VERSION else None
    except ValueError as error:
        raise ShardError(f"{path} is damaged: {error}. {REMEDY}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ShardError(f"{path} is damaged: {error!r}. {REMEDY}") from error
    if manifest is None:
        raise ShardError(f"Shards must be of version {VERSION}, but {path} says {version!r}. {REMEDY}")
    return manifest


def _no_manifest(folder: Path | str) -> str:
    """Return why a folder is none of shards."""
    if not storage.is_url(folder) and not Path(folder).is_dir():
        what = "is a file" if Path(folder).exists() else "does not exist"
        here = "" if Path(folder).is_absolute() else f" ({Path(folder).absolute()})"
        return f"A folder of shards must exist, but {folder}{here} {what}. Name another, or pack one with `pgpc pack`."
    return f"A folder of shards has a {MANIFEST}, but {folder} has none. Pack a data set with `pgpc pack`."
