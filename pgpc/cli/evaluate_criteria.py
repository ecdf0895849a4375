"""What ``pgpc evaluate`` measures without labels, and which of the images the network has seen with their labels."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

from pgpc.config import Config
from pgpc.evaluation.names import NETWORKS

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.loaded_model import LoadedModel


def open_measured(loaded: LoadedModel, config: Config, where: str) -> Shards:
    """Open the images that criteria are measured on: those that runs are trained on, without their labels."""
    from pgpc.data.domains import open_shards

    if config.evaluation.criteria_images == 0:
        raise ValueError(
            "--criteria needs evaluation.criteria_images to be at least 1, but got 0. Set how many images are "
            "measured, for example --set evaluation.criteria_images=16."
        )
    measured = open_shards(where, config.data, "train")
    check_classes(loaded, measured)
    learned = set(learned_of(loaded.config, measured))
    rows = [row for row, name in enumerate(measured.names) if name not in learned]
    if not rows:
        raise ValueError(
            "--criteria needs images whose labels the network was not trained on, but data.target_labels has those of "
            f"all images of {where}, train. Name other ones with --data."
        )
    return measured.take(rows) if learned else measured


def criteria_of(
    arguments: argparse.Namespace, loaded: LoadedModel, config: Config, measured: Shards
) -> dict[str, dict[str, float] | int]:
    """Return the criteria by name, and on how many images of the target they were measured."""
    from pgpc.evaluation.criteria.measure import measure
    from pgpc.evaluation.criteria.target import Networks
    from pgpc.evaluation.loaded_model import load_model

    teacher = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(loaded.in_precision())
        if loaded.has_teacher:
            # Agreement is mutual: a teacher is compared with its student.
            counterpart = load_model(arguments.checkpoint, next(n for n in NETWORKS if n != arguments.network))
            teacher = counterpart.student.segmenter.to(next(loaded.student.segmenter.parameters()).device)
            stack.enter_context(counterpart.in_precision())
        found = measure(
            Networks(loaded.student.segmenter, teacher),
            target=measured,
            held_out=_open_held_out(config),
            data=config.data,
            classes=loaded.classes,
            evaluation=config.evaluation,
        )
    return {"criteria": found, "criteria_images": min(config.evaluation.criteria_images, len(measured))}


def _open_held_out(config: Config) -> Shards | None:
    """Open the labeled source images that the run was not trained on; None where there are none on this machine."""
    from pgpc.data.choices import hold_out
    from pgpc.data.domains import open_shards
    from pgpc.runtime import distributed

    if config.data.holdout == 0:
        return None
    try:
        return hold_out(open_shards(config.data.source, config.data, "train"), config.data.holdout)[1]
    except ValueError as error:
        if distributed.rank() == 0:
            print(f"source_mIoU is left out: {error}", file=sys.stderr)
        return None


def learned_of(config: Config, shards: Shards) -> list[str]:
    """Return the names of the images whose labels the run was trained on; where that cannot be told, say so."""
    from pgpc.data.domains import learned_by_heart
    from pgpc.runtime import distributed

    try:
        return learned_by_heart(config.data, shards)
    except ValueError as error:
        if distributed.rank() == 0:
            print(
                f"Whether the network has learned labels of {shards.folder}, {shards.split}, cannot be told, since "
                f"what data.target_labels names cannot be opened: {error}",
                file=sys.stderr,
            )
        return []


def check_classes(loaded: LoadedModel, scored: Shards) -> None:
    """Refuse data of other classes than the network has learned."""
    # Shards without any label have classes, too, those of the packing's default, which nothing is compared with.
    if scored.num_labeled and loaded.classes.names != scored.classes.names:
        raise ValueError(
            f"The network and the data must have the same classes in the same order, but {loaded.file} has "
            f"{len(loaded.classes.names)} ({', '.join(loaded.classes.names)}) and {scored.folder} has "
            f"{len(scored.classes.names)} ({', '.join(scored.classes.names)}). Choose data with the network's classes."
        )
