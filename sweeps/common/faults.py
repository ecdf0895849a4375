"""What an error's text says about its cause, and what to tell the user to do."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from pgpc.runtime.files import write_file

_CANNOT_WRITE = (
    *(os.strerror(code) for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.ESTALE)),
    # SQLite's words for the same, and PyTorch's.
    "database or disk is full",
    "attempt to write a readonly database",
    "unable to open database file",
    "disk I/O error",
    "PytorchStreamWriter failed writing",
)
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
