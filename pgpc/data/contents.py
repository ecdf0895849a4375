"""What the data of a run are made of, beyond the names of the places where they lie.

A folder of shards may be packed anew, and a file of weights replaced, under the same name. Digests of the contents tell
that, from the checksums in manifests, without reading an image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pgpc.data.config import DataConfig
from pgpc.data.shards.manifest import Manifest, read_manifest
from pgpc.data.streets.config import STREETS_VERSION
from pgpc.data.target_labels import listed_names, split_of
from pgpc.runtime import storage
from pgpc.runtime.files import expand_user, sha256

SOURCE, TARGET, SCORED, PRETRAINED = "source", "target", "scored split", "pretrained weights"
DISTILLED = "weights of the distillation"
LABELED, LABELED_LIST = "target's labels", "list of the target's labels"
THINGS = "classes that are things"
"""What a run takes from outside."""


class Place(NamedTuple):
    """Where something lies that a run takes from outside.

    Attributes:
        where: A folder of shards, its address on S3, a side of the embedded pair, or a file.
        split: The split of the shards, or `THINGS` for which of their classes are things; None for a file.
    """

    where: str
    split: str | None

    def __str__(self) -> str:
        return self.where if self.split is None else f"{self.where} ({self.split})"


def places(
    data: DataConfig,
    *,
    pretrained: Path | None,
    adapts: bool,
    measures: bool,
    distilled: Path | None = None,
    keeps_things: bool = False,
) -> dict[str, Place]:
    """Return what a run takes from outside, by its part in the run.

    Args:
        data: The configuration of the data.
        pretrained: File of the encoder's initial weights; None for random ones.
        adapts: Whether the run trains on the target.
        measures: Whether criteria are measured on the target.
        distilled: File of the weights of a frozen encoder that features are held near; None for no such encoder.
        keeps_things: Whether features of things are kept near those of ImageNet, so that it counts which classes are
            things; the files of the shards are the same whatever they are.
    """
    found = {SOURCE: Place(data.source, "train")}
    if adapts or measures:
        found[TARGET] = Place(data.target, "train")
    if data.eval_split is not None:
        found[SCORED] = Place(data.target, data.eval_split)
    if data.target_labels is not None:
        found[LABELED] = Place(data.target, split_of(data.target_labels))
        if listed_names(data.target_labels):
            found[LABELED_LIST] = Place(data.target_labels, None)
    if keeps_things and not data.source.startswith("streets:"):
        found[THINGS] = Place(data.source, THINGS)
    if pretrained is not None:
        found[PRETRAINED] = Place(str(pretrained), None)
    if distilled is not None:
        found[DISTILLED] = Place(str(distilled), None)
    return found


def contents(found: Mapping[str, Place], *, needed: bool = True) -> dict[str, str]:
    """Return a digest of what lies at each place.

    Args:
        found: Places by any names.
        needed: Whether each must be there; otherwise one that cannot be read is left out.

    Raises:
        ValueError: Shards are missing or damaged.
        OSError: A file cannot be read, or S3 cannot be reached.
    """
    digests = {}
    for name, place in found.items():
        with contextlib.suppress(*(() if needed else (ValueError, OSError))):
            digests[name] = digest(place)
    return digests


def digest(place: Place) -> str:
    """Return a digest of what lies at a place, 16 digits in hexadecimal."""
    if place.split is None:
        file = expand_user(place.where)
        status = file.stat()
        return _file_digest(file, status.st_size, status.st_mtime_ns)[:16]
    what = _things(place.where) if place.split == THINGS else split_files(place)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def split_files(place: Place) -> list[str]:
    """Return what tells the images and labels of a split from any others: the checksums of its files."""
    assert place.split is not None, "a file has no split"
    if place.where.startswith("streets:"):
        return [place.where, place.split, str(STREETS_VERSION)]  # the rest is in data.streets
    manifest = _manifest(place.where)
    return [file.sha256 for file in manifest.splits[place.split].files] if place.split in manifest.splits else []


def class_names(where: str) -> tuple[str, ...] | None:
    """Return the names of the classes of shards, in their order; None of the embedded pair, whose never change."""
    return None if where.startswith("streets:") else _manifest(where).classes.names


def _things(where: str) -> list[str]:
    """Return the names of those classes of shards that are things."""
    classes = _manifest(where).classes
    return [classes.names[k] for k in classes.things]


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names under which both have a digest, and another one; of the target's labels also if one has none.

    That a place cannot be read says nothing of its contents. Which labels of the target are used is in the config,
    however, so that they, or their list, are not there only if none, or all, are used.
    """
    both = [name for name, digest_before in before.items() if name in now and now[name] != digest_before]
    return both + [name for name in (LABELED, LABELED_LIST) if (name in before) != (name in now)]


def _manifest(where: str) -> Manifest:
    return read_manifest(where if storage.is_url(where) else expand_user(where))


@functools.lru_cache(maxsize=32)
def _file_digest(file: Path, size: int, changed_ns: int) -> str:
    """Return the checksum of a file, which is read once as long as neither its size nor its time changes."""
    return sha256(file)
