"""The progress of a long command on the screen."""

import io
import sys

from pgpc.cli import progress
from pgpc.cli.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    clock = iter((0.0, 10.0, 12.0, 12.05, 20.0, 30.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", _Terminal())
    show = Progress("packed")
    for done in (100, 140, 141, 300, 500):  # the first hundred were packed before
        show(done, 500)
    show.close()
    assert sys.stderr.getvalue().replace("\033[K", "").split("\r")[1:] == [
        "[####....................] packed 100/500 images",
        "[######..................] packed 140/500 images, 20 images/s, 0:18 left",
        "[##############..........] packed 300/500 images, 20 images/s, 0:10 left",
        "[########################] packed 500/500 images, 20 images/s\n",
    ]


def test_progress_is_a_line_now_and_then_elsewhere(monkeypatch):
    clock = iter((0.0, 0.0, 1.0, 31.0, 40.0, 3700.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    show = Progress("checked")
    for done in (1, 2, 3, 4, 5):
        show(done, 500)
    assert sys.stderr.getvalue().splitlines() == [
        "checked 3/500 images, 0.1 images/s, 2:08:24 left",
        "checked 5/500 images, 0.0 images/s, 127:11:15 left",
    ]


def test_work_goes_on_where_nobody_reads_of_it(monkeypatch):
    """A closed pipe, or a terminal that is gone."""

    class _Gone(_Terminal):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", _Gone())
    Progress("packed")(2, 2)
