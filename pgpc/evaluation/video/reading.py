"""The frames of a video file or of a webcam, one at a time and in their order, by FFmpeg (PyAV)."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgpc.data.image_limits import check_size

WEBCAM = "webcam:"
"""What stands in front of the number of a webcam."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv")
"""What the names of videos end with, in small or capital letters."""

_MISSING_SECONDS = Fraction(1)
"""How much earlier than it says a video may end: lengths are rounded, and sound may go on for a moment."""

# How FFmpeg calls the webcams of a system, and the first of them.
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}


class VideoError(ValueError):
    """A video cannot be opened or decoded."""


class Frame(NamedTuple):
    """One picture of a video.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB, turned as the video says.
        seconds: Time since the first frame.
    """

    pixels: np.ndarray
    seconds: Fraction


def is_video(where: str) -> bool:
    """Return whether an input is a webcam, or is called as a video file."""
    return where.startswith(WEBCAM) or where.lower().endswith(VIDEO_SUFFIXES)


class Video:
    """An open video.

    It is made by :func:`open_video`.

    Args:
        container: The open container of PyAV.
        where: The file or webcam, for messages.
    """

    def __init__(self, container: Any, where: str) -> None:
        self._container, self._where = container, where
        self._stream = container.streams.video[0]
        self.is_live = where.startswith(WEBCAM)
        """Whether it goes on until it is interrupted."""
        self.count: int = 0 if self.is_live else int(self._stream.frames)
        """Number of frames that the video says it has; 0 where it does not."""
        self.rate: Fraction = Fraction(self._stream.average_rate or 25)
        """Frames per second, on average."""
        self._seconds = None if self.is_live else _length(container)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order in which they are shown; no more than one is kept.

        Raises:
            VideoError: A frame cannot be decoded, is too large, or of another size than the first; or, at the end, the
                video ends long before it says.
        """
        import av

        begin: Fraction | None = None
        shape: tuple[int, ...] | None = None
        number, end = 0, Fraction(0)
        try:
            for decoded in self._container.decode(self._stream):
                check_size(decoded.width, decoded.height)
                pixels = _upright(decoded)
                shape = shape or pixels.shape
                if pixels.shape != shape:
                    raise VideoError(f"its frames must have one size, but frame {number} has another than the first")
                now = Fraction(number) / self.rate if decoded.pts is None else decoded.pts * decoded.time_base
                begin = now if begin is None else begin
                stands = Fraction((decoded.duration or 0) * (decoded.time_base or 0))  # for long, a last picture
                end = now - begin + (stands if stands * self.rate > 1 else 1 / self.rate)
                yield Frame(pixels, now - begin)
                del decoded, pixels  # or they would live until the next is decoded
                number += 1
        except av.FFmpegError as error:
            raise VideoError(f"frame {number} of {self._where} cannot be decoded: {error}") from error
        # FFmpeg takes a file that was cut off, or whose rest is damaged, for one that ends there.
        if self._seconds is not None and end + max(_MISSING_SECONDS, 1 / self.rate) < self._seconds:
            raise VideoError(
                f"it should be {float(self._seconds):.1f} s long, but its pictures end after {float(end):.1f} s. The "
                "file is truncated or damaged; copy or record it again."
            )


@contextlib.contextmanager
def open_video(where: str) -> Iterator[Video]:
    """Open a video file, or a webcam.

    Args:
        where: The path of a file, or ``webcam:0``, the first webcam of this machine.

    Raises:
        VideoError: The library is missing, there is no such webcam, or the file is no video.
        FileNotFoundError: There is no such file.
    """
    try:
        import av
    except ImportError as error:
        raise VideoError(
            "Videos and webcams are read by FFmpeg with PyAV, which is not installed. Install it: pip install "
            "'pgpc[video]'"
        ) from error
    driver, address = _address(where)
    try:
        container = av.open(address, format=driver)
    except av.FFmpegError as error:
        remedy = (
            "See that it is there, that this user may use it, and that nothing else does."
            if driver is not None
            else "Convert it with FFmpeg to MP4 with H.264."
        )
        raise VideoError(f"{where} cannot be opened as a video: {error}. {remedy}") from error
    with container:
        if not container.streams.video:
            raise VideoError(f"A video must have pictures, but {where} has none, only sound or text.")
        container.streams.video[0].thread_type = "AUTO"
        yield Video(container, where)


def _address(where: str) -> tuple[str | None, str]:
    """Return FFmpeg's driver and address of a webcam; no driver and the path of a file."""
    if not where.startswith(WEBCAM):
        if not Path(where).is_file():
            raise FileNotFoundError(f"No video at {where}.")
        return None, where
    number = where.removeprefix(WEBCAM)
    if sys.platform not in _CAMERAS or not number.isdecimal():
        raise VideoError(
            f"A webcam must be webcam:NUMBER, such as webcam:0, on Linux or macOS, but got {where!r} on {sys.platform}."
        )
    driver, address = _CAMERAS[sys.platform]
    return driver, address.format(number)


def _length(container: Any) -> Fraction | None:
    """Return how many seconds the pictures of a video last by what it says; None where it does not."""
    import av

    stream = container.streams.video[0]
    if stream.duration is not None and stream.time_base is not None:
        return Fraction(stream.duration * stream.time_base)
    # Of all streams together: sound may be longer than pictures.
    alone = container.duration is not None and len(container.streams) == 1
    return Fraction(container.duration, av.time_base) if alone else None


def _upright(decoded: Any) -> np.ndarray:
    """Return the pixels of a frame of PyAV, turned and mirrored as phones write it beside them."""
    pixels: np.ndarray = decoded.to_ndarray(format="rgb24")
    matrix = decoded.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # Where the directions of x and of y go, in the numbers of a machine: (a, b, ., c, d, ...).
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].astype(float)
    if a * d < b * c:
        pixels, a, b = pixels[:, ::-1], -a, -b
    return np.ascontiguousarray(np.rot90(pixels, round(-math.atan2(b, a) / (math.pi / 2)) % 4))
