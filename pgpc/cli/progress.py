"""The progress of a long command: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 30
_BAR = 24


class Progress:
    """A display of (done, total) on standard error.

    Args:
        verb: The past participle of what is done, as the first word of the line.
        unit: The name of the things that are counted, in the plural.
    """

    def __init__(self, verb: str, unit: str = "images") -> None:
        self._verb, self._unit = verb, unit
        self._terminal = sys.stderr.isatty()
        self._first: tuple[int, float] | None = None
        self._shown = time.monotonic()
        self._open = False

    def __call__(self, done: int, total: int) -> None:
        """Note the count, and show it if the last time is long ago or all is done."""
        now = time.monotonic()
        # The first count may hold what an earlier run did: it says nothing about the speed of this one.
        first_done, began = self._first = self._first or (done, now)
        if done < total and now - self._shown < (_REDRAW_SECONDS if self._terminal else _LINE_SECONDS):
            return
        if done == total and not self._terminal and now - began < _LINE_SECONDS:
            return
        self._shown = now
        line = f"{self._verb} {done}/{total} {self._unit}{self._speed(done - first_done, now - began, total - done)}"
        if not self._terminal:
            _print(f"{line}\n")
            return
        filled = _BAR * done // total
        self._open = done < total
        bar = "#" * filled + "." * (_BAR - filled)
        _print(f"\r[{bar}] {line}\033[K" + "\n" * (done == total))

    def close(self) -> None:
        """End the line of a bar that did not come to its end, so that what follows has its own."""
        if self._open:
            _print("\n")
            self._open = False

    def _speed(self, count: int, seconds: float, left: int) -> str:
        """Return the speed of `count` in so many seconds, and the time that the rest takes, in words."""
        if count == 0 or seconds <= 0:
            return ""
        speed = count / seconds
        text = f", {speed:.{0 if speed >= 10 else 1}f} {self._unit}/s"
        return f"{text}, {_duration(left / speed)} left" if left else text


def _print(text: str) -> None:
    # The work goes on where nobody reads of it any more: a terminal that is gone, or a closed pipe.
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
