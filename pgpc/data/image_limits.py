"""The limit that every reader of pictures keeps, and the error that all of them raise."""

from __future__ import annotations

MAX_PIXELS = 2**27
"""Larger pictures are refused before anything is decoded."""


class PictureError(ValueError):
    """A file is no picture, is damaged, too large, or not of the kind that is needed."""


def check_size(width: int, height: int) -> None:
    """Raise an error if a picture has more than `MAX_PIXELS`.

    Args:
        width: The width of the picture in pixels.
        height: Its height in pixels.

    Raises:
        PictureError: The picture is larger.
    """
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"picture must have at most {MAX_PIXELS} pixels, but it is {width} x {height}. Scale it down."
        )
