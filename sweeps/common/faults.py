"""What an error's text says about its cause, and what to tell the user to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

from pgpc.runtime.databases import LOCKED
from pgpc.runtime.files import write_file

_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")
_CANNOT_WRITE = (
    *_FULL,
    *(os.strerror(code) for code in (errno.EROFS, errno.EIO, errno.ESTALE)),
    # SQLite's words for the same, and PyTorch's.
    "attempt to write a readonly database",
    "unable to open database file",
    "disk I/O error",
    "PytorchStreamWriter failed writing",
)
_OF_RESULTS, _OF_MACHINE = "The results folder cannot be written from", "Not the results folder but a disk of"
_PATH = re.compile(r"'(/[^']*)'")  # as an OSError has it at its end, where it knows one
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "can't allocate memory", "not enough memory", "out of memory")
_DIVERGED = "NonFiniteLoss"  # the type, with which the text of such an error begins; see pgpc.training
# Paths, addresses and ids of processes, and numbers of any kind.
_PARTICULAR = re.compile(
    r"(?:[a-z]+:/)?/\S+|0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE
)
LESS_MEMORY = (
    "lower training.batch_size or data.crop, set model.checkpointing=true, or run fewer trials at a time with "
    "--concurrency"
)


def cannot_write(text: str) -> bool:
    """Return whether an error is one of the disk: full, read-only, failing or gone.

    The trial that met such an error is not to blame for it.
    """
    return any(words in text for words in _CANNOT_WRITE)


def is_full(text: str) -> bool:
    """Return whether an error is one of a disk, or a user's share of it, that is full."""
    return any(words in text for words in _FULL)


def is_locked(text: str) -> bool:
    """Return whether an error is that of a database that another program has locked."""
    return LOCKED in text


def located(text: str, folder: Path) -> str:
    """Return an error of the disk, met on this machine, with which disk it is: that of the results, or another.

    A training writes its checkpoints into the temporary files of its machine first, and what it reads is there, too.

    Args:
        text: The error, for which `cannot_write` holds.
        folder: A folder of the results.
    """
    host, first = socket.gethostname(), text.strip().partition("\n")[0]
    if _is_of_results(text, folder, Path(tempfile.gettempdir())):
        return f"{_OF_RESULTS} {host}: {first}"
    return (
        f"{_OF_MACHINE} {host} cannot be used: {first}. Free space there; temporary files are in "
        f"{tempfile.gettempdir()}, for which TMPDIR names another place"
    )


def is_of_results(text: str) -> bool:
    """Return whether an error was found to be one of the disk with the results; see `located`."""
    return _OF_RESULTS in text


def is_of_machine(text: str) -> bool:
    """Return whether an error was found to be one of another disk; see `located`."""
    return _OF_MACHINE in text


def _is_of_results(text: str, folder: Path, temporary: Path) -> bool:
    named = _PATH.findall(text)
    if named:
        return any(Path(name).is_relative_to(folder) for name in named)
    if not can_write(folder):
        return True
    try:
        if folder.stat().st_dev == temporary.stat().st_dev:
            return True
        # What was half-written may be gone by now, so that both can be written again.
        return can_write(temporary) and shutil.disk_usage(folder).free <= shutil.disk_usage(temporary).free
    except OSError:
        return False


def out_of_memory(text: str) -> bool:
    """Return whether an error is one of memory, of the machine or of a GPU, that a process has met itself."""
    return any(words in text for words in _OUT_OF_MEMORY)


def diverged(text: str) -> bool:
    """Return whether an error is that of a training whose loss or parameters were no numbers any more."""
    return text.startswith(_DIVERGED)


def kind(text: str) -> str:
    """Return what two errors have in common that are of the same kind.

    It is the first line of the text, in which every number, file, address and id is the same as any other: errors of
    one cause differ in the iteration, the trial's folder, the bytes that were asked for, or the process that was lost.
    """
    first = text.strip().partition("\n")[0]
    return " ".join(_PARTICULAR.sub("#", first).split())


def chain(error: BaseException) -> str:
    """Return the texts of an error and of those that it was raised from, one line each."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None:
        lines.append(str(link).strip() or type(link).__name__)
        link = link.__cause__ or link.__context__
    return "\n".join(lines)


def can_write(folder: Path) -> bool:
    """Return whether a folder can be written; see `probe`."""
    try:
        probe(folder)
    except OSError:
        return False
    return True


def probe(folder: Path) -> None:
    """Write a megabyte into a folder and remove it again, because a full disk still takes files that are empty.

    Raises:
        OSError: The folder cannot be written.
    """
    file = folder / ".probe"
    try:
        write_file(file, lambda opened: opened.write(bytes(1 << 20)))
    finally:
        file.unlink(missing_ok=True)
