"""A stream that may vanish, and must not take the sweep with it: a terminal that is closed, a pipe that nobody reads.

A sweep of days is worth more than its words. What cannot be written is dropped, and everything else goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Any, TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET, errno.ESHUTDOWN)
"""What the system says of a stream that nobody will ever read again; a full disk, for one, may be emptied."""


class Outlet:
    """Stands in for a stream of text, and never raises what is wrong with it.

    Args:
        stream: The stream; None, which Python has for one that was closed before it began, takes everything.
        on_gone: Is told once that nobody will read the stream any more.
    """

    def __init__(self, stream: TextIO | None, on_gone: Callable[[], None] | None = None) -> None:
        self._stream, self._on_gone = stream, on_gone
        self._held = ""

    def write(self, text: str) -> int:
        """Write a text, if that is still possible; return its length."""
        self._attempt(lambda stream: self._write(stream, text))
        return len(text)

    def flush(self) -> None:
        """Hand on what has been written, if that is still possible."""
        self._attempt(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Return whether it is a terminal; streams that the kernels of notebooks make need not know the question."""
        asked = getattr(self._stream, "isatty", None)
        try:
            return asked is not None and bool(asked())
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, stream: TextIO, text: str) -> None:
        held, self._held = self._held, ""
        try:
            stream.write(held + text)
        except RuntimeError:  # the handler of a signal has interrupted another write, which must end first
            self._held = held + text

    def _attempt(self, act: Callable[[TextIO], object]) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            act(stream)
        except RuntimeError:  # see above
            pass
        except (OSError, ValueError) as error:  # a stream of Python's that was closed is a ValueError
            if isinstance(error, OSError) and error.errno not in _GONE:
                return
            self._stream = None
            _discard(stream)
            if self._on_gone is not None:
                self._on_gone()


def _discard(stream: TextIO) -> None:
    """Let what is still written to a stream vanish: what its buffer holds, too, which Python writes when it exits."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
