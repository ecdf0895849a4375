"""What every reader of pictures refuses, and how it says so."""

from __future__ import annotations

MAX_PIXELS = 2**27
"""Larger pictures are refused before anything is decoded."""


class PictureError(ValueError):
    """A file that is no picture, is damaged, too large, or not of the kind that is needed."""


def check_size(width: int, height: int) -> None:
    """Refuse more than `MAX_PIXELS`.

    Raises:
        PictureError: the picture is larger.
    """
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"picture must have at most {MAX_PIXELS} pixels, but it is {width} x {height}. Scale it down."
        )
