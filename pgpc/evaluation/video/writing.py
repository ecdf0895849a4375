"""Writing of a video, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import IO, Any

import numpy as np

_TICKS = 30_000
"""Units of time in a second: whole numbers of them are the frames of all usual rates, and MPEG-4 takes no more than
65,535."""
_CODECS = ("libx264", "mpeg4")
"""Encoders by preference; the second is in every FFmpeg."""


class VideoWriter:
    """An MP4 that is being written.

    It is made by :func:`written_video`.

    Args:
        container: The open container of PyAV.
        rate: Frames per second, on average.
    """

    def __init__(self, container: Any, rate: Fraction) -> None:
        self._container, self._rate = container, rate
        self._stream: Any = None
        self._last = -1

    def add(self, pixels: np.ndarray, seconds: Fraction) -> None:
        """Add the next frame.

        Args:
            pixels: ``(H, W, 3)`` uint8 RGB, of one size throughout; a last odd row or column is shown twice.
            seconds: Time at which it is shown, later than that of the frame before.
        """
        import av

        height, width = pixels.shape[:2]
        # Colors are kept for squares of four pixels.
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._begin(even.shape[1], even.shape[0])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts = self._last = max(self._last + 1, round(seconds * _TICKS))
        frame.time_base = Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _begin(self, width: int, height: int) -> Any:
        import av

        codec = next(name for name in _CODECS if name in av.codecs_available)
        stream = self._container.add_stream(codec, rate=self._rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "veryfast"}
        else:
            stream.bit_rate = width * height * 8
        return stream


@contextmanager
def written_video(file: IO[bytes], rate: Fraction) -> Iterator[VideoWriter]:
    """Write an MP4 into an open file.

    Args:
        file: The file, which can be searched.
        rate: Frames per second, on average.
    """
    import av

    with av.open(file, "w", format="mp4") as container:
        writer = VideoWriter(container, rate)
        yield writer
        writer.end()
