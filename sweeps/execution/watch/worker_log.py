"""What the workers of a run write, on whatever machine, as files in the run's directory, and the warnings among it.

Ray keeps what processes write on the machine where they run, which may be gone when somebody wants to read it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

STILL = 600.0
"""Seconds without a report after which a worker writes where it is, and again after as many more."""
_PATTERN = "worker-*.log"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_WARNING = re.compile(r"^\S+ \S+ (?:WARNING|ERROR|CRITICAL) pgpc[\w.]*: (.*)$")


def log_pattern(directory: Path) -> Path:
    """Return the pattern of the files that the workers of the run in `directory` write."""
    return directory / _PATTERN


def write_log(directory: Path, rank: int) -> None:
    """Send all that this process writes from now on to a file in the run's directory, after what is there.

    That is what Python, C libraries and the processes that load data write to standard output and error, and what the
    program logs. Where the file cannot be written, everything stays as it is.

    Args:
        directory: The run's directory; it is made where it is missing.
        rank: The rank of the worker.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(directory / _PATTERN.replace("*", str(rank)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        return
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    # Not sys.stderr, which Ray has replaced by a stream of its own.
    handler = logging.StreamHandler(os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace"))
    handler.setFormatter(logging.Formatter(_FORMAT))
    log = logging.getLogger("pgpc")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("ray.train").setLevel(logging.WARNING)  # else it repeats every report, in a line of kilobytes


@contextlib.contextmanager
def stacks_when_still(seconds: float = STILL) -> Iterator[None]:
    """Write what each thread of this process does to standard error whenever it has not been heard of for long."""
    is_heard_of(seconds)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def is_heard_of(seconds: float = STILL) -> None:
    """Begin anew to count the seconds of `stacks_when_still`, since this process has just reported."""
    faulthandler.dump_traceback_later(seconds, repeat=True, file=2)


class LogReader:
    """Reads what the workers of a run warn of.

    Args:
        directory: The run's directory; what is there already is passed over.
    """

    def __init__(self, directory: Path) -> None:
        self._pattern = log_pattern(directory)
        self._read = {file: file.stat().st_size for file in self._files()}
        self.has_begun = False
        """Whether a worker has written anything since then, as far as has been read."""

    def warnings(self) -> list[str]:
        """Return the warnings and errors that have been logged since the last time."""
        found = []
        for file in self._files():
            with contextlib.suppress(OSError), file.open("rb") as opened:
                opened.seek(self._read.get(file, 0))
                new = opened.read()
                whole = new[: new.rfind(b"\n") + 1]
                self._read[file] = self._read.get(file, 0) + len(whole)
                self.has_begun |= bool(whole)
                lines = whole.decode(errors="replace").splitlines()
                found += [match[1] for line in lines if (match := _WARNING.match(line))]
        return found

    def _files(self) -> list[Path]:
        return sorted(self._pattern.parent.glob(self._pattern.name))
