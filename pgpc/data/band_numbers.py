"""By what numbers the images of a run are normalized, and what else is done otherwise for other bands or bits."""

from __future__ import annotations

import dataclasses

from pgpc.data.config import DataConfig
from pgpc.data.pixel_form import RGB
from pgpc.data.shards.manifest import ShardError, place_of, read_manifest


def with_normalization(data: DataConfig) -> DataConfig:
    """Return a configuration that says how images are normalized: as packing found for the source, where it is open.

    Raises:
        ValueError: The manifest of the source cannot be read, or has other bands or no train split.
        OSError: S3 cannot be reached.
    """
    if data.pixels == RGB or data.mean is not None:
        return data
    manifest = None if data.source.startswith("streets:") else read_manifest(place_of(data.source))
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
