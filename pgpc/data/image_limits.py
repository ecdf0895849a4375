"""The limit that every reader of pictures keeps, and the error that all of them raise."""

from __future__ import annotations

MAX_PIXELS = 2**27
"""Larger pictures are refused before anything is decoded."""


MAX_RATIO = 32
"""How many times as long as the other a side may be: beyond, resizing for a network leaves nothing of the other."""


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


def check_ratio(width: int, height: int) -> None:
    """Raise an error if a picture is too narrow for a network.

    Args:
        width: The width of the picture in pixels.
        height: Its height in pixels.

    Raises:
        PictureError: One side is more than `MAX_RATIO` times as long as the other.
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        raise PictureError(
            f"a side of a picture must be at most {MAX_RATIO} times as long as the other, but it is {width} x "
            f"{height}. Cut it into parts."
        )
