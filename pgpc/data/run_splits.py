"""The splits that a run reads, and what they must be: labeled, of the same classes, and large enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pgpc.data.config import DataConfig
from pgpc.data.label_coverage import Coverage, coverage_notes
from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.reader import Shards
from pgpc.data.target_labels import same_named_image
from pgpc.data.transforms import box_size

SOURCE, SCORED = "Source images", "Scored images"
"""What images are, in messages."""
_HELD_OUT, _LABELED = "Source images that are held out", "Target images whose labels are trained on"


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


def check_coverage(domains: Domains) -> None:
    """Refuse labels by which nothing can be learned or scored.

    Args:
        domains: The images of a run.

    Raises:
        ShardError: Images that are trained on or scored lack labels or labeled pixels.
    """
    domains.source.check_labeled()
    Coverage.of_shards(SOURCE, domains.source).check_several()
    labeled = (
        (_HELD_OUT, domains.held_out),
        (_LABELED, domains.labeled),
        (SCORED, domains.scored),
        (SCORED, domains.reported),
    )
    for role, shards in labeled:
        if shards is not None:
            shards.check_labeled()
            Coverage.of_shards(role, shards).check_labeled()


def label_notes(domains: Domains, *, keeps_things: bool = False) -> list[str]:
    """Return a sentence for each thing that labels decide unseen: what is learned, and what is scored.

    A class may have none, and images that are scored may be images whose labels are trained on.

    Args:
        domains: The images of a run.
        keeps_things: Whether features of things are kept near those of ImageNet (``adaptation.feature_distance_*``).
    """
    scored, reported = (
        None if shards is None else Coverage.of_shards(SCORED, shards) for shards in (domains.scored, domains.reported)
    )
    source = Coverage.of_shards(SOURCE, domains.source)
    notes = coverage_notes(source, scored, reported)
    if keeps_things and not any(source.pixels[k] for k in domains.source.classes.things):
        notes.append(
            f'No pixel of a class that is a thing ("thing": true) in {source.what}: the feature distance to ImageNet '
            "(adaptation.feature_distance_weight), which is taken on these, is 0 throughout."
        )
    for shards in (domains.scored, domains.reported):
        learned = None if shards is None else same_named_image(domains.source, shards)
        if shards is not None and learned is not None:
            notes.append(
                f"Scored images (split {shards.split!r} of {shards.folder}) are among the source images whose labels "
                f"are trained on, such as {learned!r}: the score is not one of images that were never seen."
            )
            break
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
