"""Written videos: the frames that were given, in their order and at their times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pgpc.evaluation.video.writing import written_video
from tests.helpers.videos import read_video


@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), Fraction(10)])
def test_frames_of_odd_size_come_back_in_order_and_at_their_times(tmp_path: Path, rate: Fraction) -> None:
    with (tmp_path / "a.mp4").open("w+b") as file, written_video(file, rate) as writer:
        for k in range(9):
            writer.add(np.full((33, 47, 3), 25 * k, dtype=np.uint8), k / rate)
    frames, last = read_video(tmp_path / "a.mp4")
    assert [round(float(frame.mean()) / 25) for frame in frames] == [*range(9)]
    assert frames[0].shape == (34, 48, 3) and abs(last - 8 / rate) < Fraction(1, 10_000)


def test_pauses_of_a_webcam_stay_pauses(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(2), Fraction(2)]  # the last at no later time
    with (tmp_path / "a.mp4").open("w+b") as file, written_video(file, Fraction(10)) as writer:
        for time in times:
            writer.add(np.zeros((32, 32, 3), dtype=np.uint8), time)
    frames, last = read_video(tmp_path / "a.mp4")
    assert len(frames) == 4 and Fraction(2) <= last < Fraction(201, 100)
