"""Videos: frames in their order, one at a time, and what cannot be read."""

from __future__ import annotations

import gc
import os
import struct
import sys
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pgpc.evaluation.video import reading
from pgpc.evaluation.video.reading import VideoError, is_video, open_video
from tests.helpers.videos import brightness, write_video


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", count=20, rate=10)
    with open_video(str(file)) as video:
        assert (video.count, video.rate, video.is_live) == (20, 10, False)
        frames = list(video.frames())
    assert [round(brightness(frame.pixels) / 12) for frame in frames] == [*range(20)]
    assert [frame.seconds for frame in frames] == [Fraction(k, 10) for k in range(20)]
    assert {(frame.pixels.shape, frame.pixels.dtype) for frame in frames} == {((48, 64, 3), np.dtype(np.uint8))}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_that_was_cut_off_is_not_taken_for_a_short_one(tmp_path: Path, suffix: str) -> None:
    """FFmpeg says nothing where the index of a file is whole, and its end is not there."""
    file = write_video(tmp_path / f"a.{suffix}", count=20, rate=2, noise=True)
    os.truncate(file, file.stat().st_size * 6 // 10)
    with open_video(str(file)) as video, pytest.raises(VideoError, match=r"should be 10.0 s long, .* end after [3-7]"):
        found = []
        for frame in video.frames():
            found.append(frame.seconds)
    assert 5 < len(found) < 15


ONE = 1 << 16
_TURNS = {
    "cw": ((0, ONE, 0, -ONE, 0), lambda pixels: np.rot90(pixels, -1)),
    "half": ((-ONE, 0, 0, 0, -ONE), lambda pixels: pixels[::-1, ::-1]),
    "mirrored": ((-ONE, 0, 0, 0, ONE), lambda pixels: pixels[:, ::-1]),
    "mirrored and cw": ((0, -ONE, 0, -ONE, 0), lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", _TURNS)
def test_frames_are_turned_and_mirrored_as_the_video_says(tmp_path: Path, name: str) -> None:
    matrix, expected = _TURNS[name]
    file = write_video(tmp_path / "a.mp4", count=1)
    with open_video(str(file)) as video:
        plain = next(video.frames()).pixels
    data = bytearray(file.read_bytes())
    struct.pack_into(">5i", data, data.index(b"tkhd") + 44, *matrix)
    file.write_bytes(data)
    with open_video(str(file)) as video:
        assert np.array_equal(next(video.frames()).pixels, expected(plain))


def test_one_frame_lives_at_a_time(tmp_path: Path) -> None:
    alive: set[int] = set()
    file, most = write_video(tmp_path / "a.mp4", count=40), 0
    with open_video(str(file)) as video:
        for number, frame in enumerate(video.frames()):
            alive.add(number)
            weakref.finalize(frame.pixels, alive.discard, number)
            most = max(most, len(alive))
            del frame
    gc.collect()
    assert most == 1 and not alive


def test_what_is_called_as_a_video_is_one() -> None:
    assert all(map(is_video, ("webcam:0", "a/b.MP4", "x.mkv"))) and not any(map(is_video, ("a.png", "folder", "mp4")))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video at all" * 99)
    with pytest.raises(VideoError, match=r"b.mp4 cannot be opened as a video: .* Convert it with FFmpeg"):
        open_video(str(broken)).__enter__()
    with pytest.raises(FileNotFoundError, match="No video at"):
        open_video(str(tmp_path / "none.mp4")).__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="webcams are called otherwise")
def test_webcams_that_are_not_there_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoError, match="webcam:97 cannot be opened as a video: .* See that it is there"):
        open_video("webcam:97").__enter__()
    with pytest.raises(VideoError, match="must be webcam:NUMBER, such as webcam:0, .* but got 'webcam:front'"):
        open_video("webcam:front").__enter__()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(VideoError, match="on Linux or macOS, but got 'webcam:0' on win32"):
        open_video("webcam:0").__enter__()


def test_a_webcam_is_read_as_long_as_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own source of test pictures stands in the place of a driver: it never ends."""
    monkeypatch.setitem(reading._CAMERAS, sys.platform, ("lavfi", "testsrc=size=64x48:rate=25:decimals={}"))
    with open_video("webcam:0") as video:
        assert video.is_live and video.count == 0
        frames = video.frames()
        assert [next(frames).seconds for _ in range(5)] == [Fraction(k, 25) for k in range(5)]
        frames.close()
