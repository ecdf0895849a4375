"""Opening of the domains that a config names: a packed folder, or one side of the embedded pair."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pgpc.data.choices import hold_out, split_report
from pgpc.data.config import STREETS_SOURCE, STREETS_TARGET, DataConfig
from pgpc.data.label_coverage import Coverage, coverage_notes
from pgpc.data.pixel_form import RGB
from pgpc.data.shards.manifest import ShardError, read_manifest
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import changed_files
from pgpc.data.streets.config import STREETS_VERSION, StreetsConfig
from pgpc.data.streets.generator import write_streets
from pgpc.data.target_labels import check_unscored, choose_labeled, shared_images, split_of, without_labeled
from pgpc.data.transforms import box_size
from pgpc.runtime import distributed, storage
from pgpc.runtime.files import expand_user
from pgpc.runtime.storage import cache_folder, locked

log = logging.getLogger(__name__)

_CHECKED_BYTES = 2**30
"""Shards up to this size are read once before a run, a second's work; of larger ones only the outline is checked."""

_SOURCE, _HELD_OUT, _SCORED = "Source images", "Source images that are held out", "Scored images"
_LABELED = "Target images whose labels are trained on"

_STREETS = {STREETS_SOURCE: ("source", "gta5"), STREETS_TARGET: ("target", "cityscapes")}


class Domains(NamedTuple):
    """The splits that a run reads.

    Attributes:
        source: The labeled train split of the source, without what is held out of it.
        target: The train split of the target, used without labels; None where it is not used.
        scored: The labeled images of the target that are evaluated; None where nothing is.
        reported: Labeled images of the target that are evaluated, but must not be chosen by; None where there are none.
        measured: The train split of the target, on which criteria are measured without labels; None where none are.
        held_out: Labeled images of the source that are not trained on; None where there are none.
        labeled: Images of the target that are trained on with their labels; None where there are none.
    """

    source: Shards
    target: Shards | None
    scored: Shards | None
    reported: Shards | None = None
    measured: Shards | None = None
    held_out: Shards | None = None
    labeled: Shards | None = None


def open_shards(where: str, data: DataConfig, split: str) -> Shards:
    """Open one split of a domain. The embedded pair is generated when it is first asked for.

    The embedded pair lies in ``streets-{hash}`` below ``$PGPC_CACHE``, else ``$XDG_CACHE_HOME/pgpc``, else
    ``~/.cache/pgpc``: shards in ``source`` and ``target``, and the pictures and labels to look at in ``raw``.

    Args:
        where: A folder of shards or its address on S3, "streets:source" or "streets:target".
        data: The configuration of the data, whose `streets` says which pair.
        split: The name of the split.

    Raises:
        ValueError: `where` names no side of the embedded pair, shards are missing or damaged, their images have other
            bands or bits than the config says, or the cache cannot be written.
    """
    shards = open_any(where, data, split)
    if shards.pixels != data.pixels:
        raise ShardError(
            f"data.bands and data.bits must be those of the images of {where}, {shards.pixels}, but they are "
            f"{data.pixels}. Set data.bands={shards.pixels.bands} and data.bits={shards.pixels.bits}; both domains of "
            "a run, and whatever a trained network is shown, must have the same."
        )
    return shards


def open_any(where: str, data: DataConfig, split: str) -> Shards:
    """Open one split of a domain, whatever its bands; otherwise as :func:`open_shards`."""
    if not where.startswith("streets:"):
        return Shards.open(_folder(where), split)
    if where not in _STREETS:
        raise ValueError(f"The sides of the embedded pair are {' and '.join(_STREETS)}, but got {where!r}.")
    pair = _streets(data.streets)
    try:
        return Shards.open(pair / _STREETS[where][0], split)
    except ShardError as error:
        # Nobody packed this folder, so the remedy of the message alone would mislead.
        raise ShardError(
            f"{error} If files of the embedded pair are damaged, delete {pair}: it is generated anew."
        ) from error


def _folder(where: str) -> Path | str:
    """Return the folder of packed shards that a config names, or its address on S3."""
    return where if storage.is_url(where) else expand_user(where)


def with_normalization(data: DataConfig) -> DataConfig:
    """Return a configuration that says how images are normalized: as packing found for the source, where it is open.

    Raises:
        ValueError: The manifest of the source cannot be read, or has other bands or no train split.
        OSError: S3 cannot be reached.
    """
    if data.pixels == RGB or data.mean is not None:
        return data
    manifest = None if data.source.startswith("streets:") else read_manifest(_folder(data.source))
    train = None if manifest is None else manifest.splits.get("train")
    if manifest is None or train is None or train.pixel_totals is None or manifest.pixels != data.pixels:
        raise ShardError(
            f"The source must have a train split with images of {data.pixels}, as data.bands and data.bits say, but "
            f"{data.source} has {'none' if train is None else manifest.pixels if manifest else RGB}. Set "
            "data.bands and data.bits to what was packed, or name another source."
        )
    return dataclasses.replace(data, mean=train.pixel_totals.mean, std=train.pixel_totals.std)


def pixel_notes(data: DataConfig, *, jitters: bool) -> list[str]:
    """Return a sentence for each thing that is done otherwise because images are no RGB of 8 bits.

    Args:
        data: The configuration of the data.
        jitters: Whether colors would be jittered.
    """
    if data.pixels == RGB:
        return []
    notes = [
        f"Images have {data.pixels}, normalized in both domains by the mean and standard deviation of each band: "
        f"{', '.join(f'{m:.4g} +- {s:.4g}' for m, s in zip(*data.normalization))}."
    ]
    if jitters:
        notes.append(f"Color jitter is for RGB of 8 bits, and off for images of {data.pixels}; blur is not changed.")
    return notes


def check_pair(data: DataConfig, report_share: float = 0.0) -> Domains:
    """Open and check all domains of a run that is scored, so that errors come before anything is trained.

    Args:
        data: The configuration of the data.
        report_share: Share of the scored images that are only reported, ``evaluation.report_share``.

    Raises:
        ValueError: Shards cannot be opened (see :func:`open_shards`) or are damaged, the source or the scored split
            lacks labels or labeled pixels, their classes differ, or a part of a split would have no image.
    """
    _check_manifests(data)
    source = open_shards(data.source, data, "train")
    target = open_shards(data.target, data, "train")
    scored = None if data.eval_split is None else open_shards(data.target, data, data.eval_split)
    for shards in (source, target if scored is None else scored):
        if shards is not target:
            shards.check_labeled()
        if changed := changed_files(shards.folder, max_bytes=_CHECKED_BYTES):
            # Of shards on S3 no changes are listed, so that this is a folder.
            remedy = f"Pack it again; if it is the embedded pair, delete {Path(shards.folder).parent}."
            raise ShardError("\n".join([f"{shards.folder} is damaged. {remedy}", *changed]))
    source, held_out = hold_out(source, data.holdout)
    labeled, reported = _open_labeled(data, source, scored), None
    if scored is not None:
        check_classes(source, scored)
        scored, reported = split_report(scored, report_share)
    domains = Domains(source, target, scored, reported, held_out=held_out, labeled=labeled)
    _check_coverage(domains)
    return domains


def open_domains(data: DataConfig, *, adapts: bool, report_share: float = 0.0, measures: bool = False) -> Domains:
    """Open the splits that a run reads.

    Args:
        data: The configuration of the data.
        adapts: Whether the run trains on the target.
        report_share: Share of the scored images that are only reported.
        measures: Whether criteria are measured on the target.

    Raises:
        ValueError: Shards cannot be opened (see :func:`open_shards`), source and scored split differ in their classes
            or lack labels or labeled pixels, or a part of a split would have no image.
    """
    source, held_out = hold_out(open_shards(data.source, data, "train"), data.holdout)
    target = open_shards(data.target, data, "train") if adapts else None
    scored = None if data.eval_split is None else open_shards(data.target, data, data.eval_split)
    labeled, reported = _open_labeled(data, source, scored), None
    if scored is not None:
        check_classes(source, scored)
        scored, reported = split_report(scored, report_share)
    measured = None
    if measures:
        measured = target if target is not None else _open_measured(data)
        if measured is not None and labeled is not None:  # criteria are about images whose labels nobody knows
            measured = without_labeled(measured, labeled)
            if measured is None and distributed.rank() == 0:
                log.warning("There are no criteria on the target: data.target_labels has labels of all its images.")
    domains = Domains(source, target, scored, reported, measured, held_out, labeled)
    _check_coverage(domains)
    return domains


def _open_labeled(data: DataConfig, source: Shards, scored: Shards | None) -> Shards | None:
    """Open the images of the target that are trained on with their labels; None where there are to be none.

    Raises:
        ValueError: They cannot be opened, lack labels, have other classes than the source, or are scored.
    """
    named = data.target_labels
    if named is None:
        return None
    labeled = choose_labeled(open_shards(data.target, data, split_of(named)), named)
    check_classes(source, labeled)
    if scored is not None:
        check_unscored(labeled, scored)
    return labeled


def learned_by_heart(data: DataConfig, shards: Shards) -> list[str]:
    """Return the names of those images whose labels a run has trained on, ``data.target_labels``.

    Args:
        data: The configuration of the run's data.
        shards: Any images.

    Raises:
        ValueError: What the run has trained on cannot be opened here.
    """
    named = data.target_labels
    if named is None:
        return []
    labeled = choose_labeled(open_shards(data.target, data, split_of(named)), named)
    return sorted({name for _, name in shared_images(labeled, shards)})


def _check_manifests(data: DataConfig) -> None:
    """Check the labels of packed domains by what their manifests have counted, before anything is downloaded or read.

    Raises:
        ShardError: A manifest is missing or damaged, or a split has no labeled pixel.
    """
    for role, where, split in ((_SOURCE, data.source, "train"), (_SCORED, data.target, data.eval_split)):
        if split is None or where.startswith("streets:"):
            continue
        coverage = Coverage.of_manifest(role, where, read_manifest(_folder(where)), split)
        if coverage is not None:
            coverage.check_several() if role == _SOURCE else coverage.check_labeled()


def _check_coverage(domains: Domains) -> None:
    """Refuse labels by which nothing can be learned or scored.

    Raises:
        ShardError: Images that are trained on or scored lack labels or labeled pixels.
    """
    domains.source.check_labeled()
    Coverage.of_shards(_SOURCE, domains.source).check_several()
    labeled = (
        (_HELD_OUT, domains.held_out),
        (_LABELED, domains.labeled),
        (_SCORED, domains.scored),
        (_SCORED, domains.reported),
    )
    for role, shards in labeled:
        if shards is not None:
            shards.check_labeled()
            Coverage.of_shards(role, shards).check_labeled()


def label_notes(domains: Domains, *, keeps_things: bool = False) -> list[str]:
    """Return a sentence for each thing that is decided by a class without labels: what is learned, and what is scored.

    Args:
        domains: The images of a run.
        keeps_things: Whether features of things are kept near those of ImageNet (``adaptation.feature_distance_*``).
    """
    scored, reported = (
        None if shards is None else Coverage.of_shards(_SCORED, shards) for shards in (domains.scored, domains.reported)
    )
    source = Coverage.of_shards(_SOURCE, domains.source)
    notes = coverage_notes(source, scored, reported)
    if keeps_things and not any(source.pixels[k] for k in domains.source.classes.things):
        notes.append(
            f'No pixel of a class that is a thing ("thing": true) in {source.what}: the feature distance to ImageNet '
            "(adaptation.feature_distance_weight), which is taken on these, is 0 throughout."
        )
    return notes


def check_image_sizes(domains: Domains, data: DataConfig, shortest_side: int, scales: Sequence[float] = (1.0,)) -> None:
    """Refuse images that are too narrow after resizing, so that errors come before anything is trained.

    Args:
        domains: The images of a run.
        data: The configuration of the data.
        shortest_side: Least height and width that the network takes as a whole, in pixels. Crops may be smaller, since
            they are padded.
        scales: Multiples of their own size that images are scored at, ``evaluation.scales``.

    Raises:
        ShardError: There are such images; the message names the first.
    """
    cropped = 1 if data.crop is not None else shortest_side
    # An image of this side at its least scale has the least that the network takes.
    scored = shortest_side if min(scales) >= 1 else math.ceil((shortest_side - 0.5) / min(scales))
    for shards, box, key, least in (
        (domains.source, data.source_size, "data.source_size", cropped),
        (domains.held_out, data.source_size, "data.source_size", scored),
        (domains.target, data.target_size, "data.target_size", cropped),
        (domains.labeled, data.target_size, "data.target_size", cropped),
        (domains.scored, data.target_size, "data.target_size", scored),
        (domains.reported, data.target_size, "data.target_size", scored),
        (domains.measured, data.target_size, "data.target_size", shortest_side),
    ):
        if shards is None:
            continue
        sizes = {tuple(size): row for row, size in reversed(list(enumerate(shards.sizes.tolist())))}
        for (width, height), row in sizes.items():
            resized = box_size(width, height, box, data.fit)
            if min(resized) < least:
                raise ShardError(
                    f"Images must be at least {least} pixels high and wide after resizing into {key}, but "
                    f"{shards.names[row]!r} (split {shards.split!r} of {shards.folder}) is {width} x {height}, and "
                    f"{resized[0]} x {resized[1]} then. Choose a larger {key}"
                    f"{', or evaluation.scales of 1 and more' if least > shortest_side else ''}, or cut such images "
                    "into parts and pack again."
                )


def _open_measured(data: DataConfig) -> Shards | None:
    """Open the train split of a target that is not trained on; None with a warning where there is none to open."""
    try:
        return open_shards(data.target, data, "train")
    except ValueError as error:
        if distributed.rank() == 0:
            log.warning("There are no criteria on the target, which evaluation.criteria_images asks for: %s", error)
        return None


def check_classes(source: Shards, scored: Shards) -> None:
    """Raise an error if a network would be scored on other classes than it learns.

    Args:
        source: The split whose classes are learned.
        scored: The split that is scored.

    Raises:
        ValueError: The classes differ, in number, name or order.
    """
    if source.classes.names != scored.classes.names:
        raise ValueError(
            f"Source and target must have the same classes, but {source.folder} has {source.num_classes} "
            f"({', '.join(source.classes.names)}) and {scored.folder} has {scored.num_classes} "
            f"({', '.join(scored.classes.names)}). Pack both with the same version."
        )


def _streets(config: StreetsConfig) -> Path:
    """Return the folder of the embedded pair, which is generated if it does not exist."""
    fields = json.dumps([STREETS_VERSION, dataclasses.asdict(config)], sort_keys=True)
    cache = cache_folder()
    folder = cache / f"streets-{hashlib.sha256(fields.encode()).hexdigest()[:16]}"
    if folder.is_dir():  # complete, for it appears by a rename; a cache on a read-only disk is fine
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{folder.name}.lock"):
            if not folder.is_dir():  # another process may have made it while this one waited
                _generate(config, folder)
    except OSError as error:
        raise ValueError(
            f"The embedded pair is generated into a cache on disk, but {cache} cannot be written: {error}. "
            "Set the environment variable PGPC_CACHE to a folder that can be."
        ) from error
    return folder


def _generate(config: StreetsConfig, folder: Path) -> None:
    """Write and pack the pair; `folder` appears when all is done. The caller holds the lock."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    count = config.num_source + config.num_target + config.num_val
    log.info("Generating the embedded pair of domains, %d images, once, into %s", count, folder)
    try:
        write_streets(config, partial / "raw")
        for side, layout in _STREETS.values():
            pack(layout, partial / "raw" / side, partial / side)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
