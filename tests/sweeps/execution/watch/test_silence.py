"""Runs that report nothing for long, with a clock of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

from sweeps.execution.watch.silence import SilenceWatch
from sweeps.execution.watch.worker_log import STILL


class Bench:
    """A watch, its clock and what it has said."""

    def __init__(self, folder: Path) -> None:
        self.now, self.said, self.run = 1000.0, list[str](), folder / "0003"
        self.run.mkdir()
        self.watch = SilenceWatch(self.said.append, clock=lambda: self.now)

    def wait(self, seconds: float) -> list[str]:
        """What is said meanwhile."""
        before, end = len(self.said), self.now + seconds
        while self.now < end:
            self.now = min(self.now + 20, end)
            self.watch.look()
        return self.said[before:]

    def write_log(self, text: str = "2026-11-30 05:00:00,000 INFO pgpc.training.loop: iteration 50/100\n") -> None:
        with (self.run / "worker-0.log").open("a") as log:
            log.write(text)


def test_a_silent_run_says_where_to_look_and_again_when_the_time_has_doubled(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watch.begin("0003", bench.run)
    bench.write_log()
    assert bench.wait(STILL - 20) == []
    [line] = bench.wait(60)
    assert line.startswith("0003  has reported nothing for 10:") and f"is in {bench.run}/worker-*.log. If" in line
    assert bench.wait(STILL - 120) == []
    assert len(bench.wait(120)) == 1
    bench.watch.heard("0003")
    assert bench.wait(STILL - 20) == []
    bench.watch.end("0003")
    assert bench.wait(10 * STILL) == []


def test_workers_that_wait_for_machines_are_told_from_those_that_hang(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write_log()  # of an earlier driver
    bench.watch.begin("0003", bench.run)
    [line] = bench.wait(STILL + 40)
    assert line.startswith("0003  has not begun for 10:") and "`ray status`" in line


def test_curves_that_are_written_are_a_sign_of_life(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    curves = bench.run / "events.out.tfevents.1.host"
    curves.touch()
    bench.watch.begin("0003", bench.run)
    for time in range(5):
        os.utime(curves, (time, time))  # the clock of another machine, and of another century
        assert bench.wait(STILL - 60) == []
    assert len(bench.wait(STILL)) == 1


def test_reports_that_are_far_apart_are_no_silence(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.watch.begin("0003", bench.run)
    bench.wait(3 * STILL)
    bench.watch.heard("0003")
    bench.wait(60)
    bench.watch.heard("0003")
    assert bench.wait(5 * STILL) == [], "the longest counts, and not the last"
    assert len(bench.wait(2 * STILL)) == 1


def test_what_workers_warn_of_is_shown_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write_log("2026-11-30 05:00:00,000 WARNING pgpc.data: of an earlier driver\n")
    bench.watch.begin("0003", bench.run)
    bench.write_log("2026-11-30 05:00:00,000 WARNING pgpc.data.loader: /dev/shm is small\n")
    bench.write_log("UserWarning: of a library\n2026-11-30 05:00:00,000 WARNING pgpc.data.loader: half a li")
    assert bench.wait(40) == ["0003  warns: /dev/shm is small"]
    bench.write_log("ne\n2026-11-30 05:00:01,000 WARNING pgpc.data.loader: /dev/shm is small\n")
    bench.watch.heard("0003")
    assert bench.said[1:] == ["0003  warns: half a line"]
    bench.write_log("2026-11-30 05:00:02,000 ERROR pgpc.training: at the end\n")
    bench.watch.end("0003")
    assert bench.said[2:] == ["0003  warns: at the end"]
