"""Opening of the domains that a config names: a packed folder, or one side of the embedded pair."""

from __future__ import annotations

import logging
from pathlib import Path

from pgpc.data.choices import hold_out, split_report
from pgpc.data.config import DataConfig
from pgpc.data.embedded_pair import SIDES, embedded_pair
from pgpc.data.label_coverage import Coverage
from pgpc.data.run_splits import SCORED, SOURCE, Domains, check_classes, check_coverage
from pgpc.data.shards.manifest import ShardError, place_of, read_manifest
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import changed_files
from pgpc.data.target_labels import check_unscored, choose_labeled, shared_images, split_of, without_labeled
from pgpc.runtime import distributed

log = logging.getLogger(__name__)

_CHECKED_BYTES = 2**30
"""Shards up to this size are read once before a run, a second's work; of larger ones only the outline is checked."""


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
        return Shards.open(place_of(where), split)
    if where not in SIDES:
        raise ValueError(f"The sides of the embedded pair are {' and '.join(SIDES)}, but got {where!r}.")
    pair = embedded_pair(data.streets)
    try:
        return Shards.open(pair / SIDES[where][0], split)
    except ShardError as error:
        # Nobody packed this folder, so the remedy of the message alone would mislead.
        raise ShardError(
            f"{error} If files of the embedded pair are damaged, delete {pair}: it is generated anew."
        ) from error


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
    check_coverage(domains)
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
    check_coverage(domains)
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
    for role, where, split in ((SOURCE, data.source, "train"), (SCORED, data.target, data.eval_split)):
        if split is None or where.startswith("streets:"):
            continue
        coverage = Coverage.of_manifest(role, where, read_manifest(place_of(where)), split)
        if coverage is not None:
            coverage.check_several() if role == SOURCE else coverage.check_labeled()


def _open_measured(data: DataConfig) -> Shards | None:
    """Open the train split of a target that is not trained on; None with a warning where there is none to open."""
    try:
        return open_shards(data.target, data, "train")
    except ValueError as error:
        if distributed.rank() == 0:
            log.warning("There are no criteria on the target, which evaluation.criteria_images asks for: %s", error)
        return None
