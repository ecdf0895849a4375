"""Small videos whose frames tell their number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    file: Path, *, count: int, rate: int = 25, size: tuple[int, int] = (48, 64), noise: bool = False
) -> Path:
    """Write a video of which frame k is a gray of brightness 12 k (up to 20 frames can be told apart).

    With `noise` a corner changes from frame to frame, so that each takes its bytes; an MP4 has its index in front.
    """
    options = {"movflags": "faststart"} if file.suffix == ".mp4" else {}
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = (*size, "yuv420p")
        for k in range(count):
            pixels = np.full((*size, 3), 12 * k % 252, dtype=np.uint8)
            corner = pixels[: size[0] // 2, : size[1] // 2]  # no part of what is measured
            corner[:] = np.random.default_rng(k).integers(0, 256, corner.shape) if noise else 128
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def read_video(file: Path) -> tuple[list[np.ndarray], Fraction]:
    """Return the frames of a video, and its length in seconds by the time of the last."""
    frames, last = [], Fraction(0)
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            last = frame.pts * frame.time_base
    return frames, last


def brightness(pixels: np.ndarray) -> float:
    """Return the brightness of the lower right quarter."""
    return float(pixels[pixels.shape[0] // 2 + 4 :, pixels.shape[1] // 2 + 4 :].mean())
