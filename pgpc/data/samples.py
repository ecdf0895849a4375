"""Reading the image and the label of one row, with errors that name it."""

from __future__ import annotations

import numpy as np

from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.data.shards.reader import Shards
from pgpc.data.tiles import Region


class SampleError(ValueError):
    """An image or label that could not be read during training or evaluation."""


def read_image(shards: Shards, row: int, region: Region | None = None) -> np.ndarray:
    """Return the image of a row, ``(H, W, bands)`` uint8 or uint16.

    Args:
        shards: The split.
        row: Number of the row in the split.
        region: The part that will be looked at, beside which pixels may be 0; None is all of it.

    Raises:
        SampleError: it cannot be read, or is not of the size that its row says; the message names it.
    """
    try:
        image = decode_image(shards.image_bytes(row), region, shards.pixels)
        width, height = shards.size(row)
        if image.shape[:2] != (height, width):
            raise ValueError(f"it is {image.shape[1]} x {image.shape[0]}, its row says {width} x {height}")
        return image
    except Exception as error:
        raise _sample_error(shards, row, "Image", error) from error


def read_label(shards: Shards, row: int) -> np.ndarray:
    """Return the label of a row of a labeled split, ``(H, W)`` uint8.

    Raises:
        SampleError: it cannot be read; the message names it.
    """
    try:
        encoded = shards.label_bytes(row)
        assert encoded is not None, "the split was checked to be labeled"
        return decode_label(encoded)
    except Exception as error:
        raise _sample_error(shards, row, "Label", error) from error


def _sample_error(shards: Shards, row: int, what: str, error: Exception) -> SampleError:
    return SampleError(
        f"{what} of {shards.names[row]!r} (split {shards.split!r} of {shards.folder}) could not be read: "
        f"{error}. The shards are damaged; pack the data set again with `pgpc pack`."
    )
