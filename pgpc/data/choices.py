"""Seeded choices of images that are the same for all runs, whatever their own seed, so that runs can be compared."""

from __future__ import annotations

import numpy as np

from pgpc.data.shards.reader import Shards
from pgpc.runtime.checks import check
from pgpc.runtime.seeding import numpy_generator

_SEED = 0
"""Not that of a run: two seeds of one trial must be trained, chosen and reported on the same images."""


def choose_rows(total: int, count: int, purpose: str) -> list[int]:
    """Choose some of the rows of a split.

    A larger choice of the same rows begins with the smaller one.

    Args:
        total: Number of rows of the split.
        count: Number of rows to choose; all where there are fewer.
        purpose: A name for what they are for; different purposes are chosen independently.

    Returns:
        Numbers of rows, each at most once, in a random order that depends on `total` and `purpose` alone.
    """
    order = numpy_generator(_SEED, purpose).permutation(total)
    rows: list[int] = order[:count].tolist()
    return rows


def image_generator(purpose: str, row: int) -> np.random.Generator:
    """Return a new generator for one image of a split, the same in all runs.

    Args:
        purpose: A name for what is drawn.
        row: Number of the image in its split.
    """
    return numpy_generator(_SEED, purpose, row)


def hold_out(source: Shards, count: int) -> tuple[Shards, Shards | None]:
    """Part the labeled train split of the source into what is trained on and what is held out.

    Args:
        source: The split.
        count: Number of images to hold out, ``data.holdout``.

    Returns:
        The images to train on and those held out, None where `count` is 0.

    Raises:
        ValueError: No image would be left to train on.
    """
    if count == 0:
        return source, None
    check(
        count < len(source),
        f"data.holdout must be smaller than the number of source images ({len(source)}), or none is left to train on",
        count,
    )
    return _part(source, choose_rows(len(source), count, "held-out source"))


def split_report(scored: Shards, share: float) -> tuple[Shards, Shards | None]:
    """Part a labeled split into what runs are chosen by and what is only reported.

    Args:
        scored: The split.
        share: Share of the images that are only reported, ``evaluation.report_share``; rounded to whole images.

    Returns:
        The images to choose by and those to report, None where `share` is 0.

    Raises:
        ValueError: One of the parts would have no image.
    """
    if share == 0:
        return scored, None
    count = round(share * len(scored))
    check(
        0 < count < len(scored),
        f"evaluation.report_share must leave an image to choose by and one to report of {len(scored)} scored images",
        share,
        "Choose a share nearer to 0.5, or 0.",
    )
    return _part(scored, choose_rows(len(scored), count, "reported images"))


def _part(shards: Shards, rows: list[int]) -> tuple[Shards, Shards]:
    """Return all rows but some, and these, each in the order of the split."""
    taken = set(rows)
    return shards.take([row for row in range(len(shards)) if row not in taken]), shards.take(sorted(taken))
