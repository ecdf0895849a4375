"""The right to write into a folder, which one process at a time has."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pgpc.runtime.launch import launched
from pgpc.runtime.unix import fcntl

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
"""Name of the file in a folder whose lock is the right to write into the folder."""
PATIENCE = 15.0
"""Seconds to wait for a process that is about to end: what it has started may outlive it by some."""

_PAUSE = 0.2
_TASKS = ("SLURM_NTASKS", "SLURM_NPROCS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Variables that say how many processes a cluster's launcher has started side by side."""
_TORCHRUN = (
    "Let srun start the processes of a training (srun pgpc train ...), or one task a machine, and torchrun the rest: "
    "srun --ntasks-per-node=1 torchrun --nproc-per-node N -m pgpc train ..."
)


class FolderInUseError(OSError):
    """Another process writes into a folder."""


@contextlib.contextmanager
def sole_writer(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Have the right to write into a folder, which is made if need be.

    The operating system takes the right away when the process ends, however it ends. Where the file system has no
    locks, a warning says so.

    Args:
        folder: The folder.
        patience: Seconds to wait for another process that has the right.

    Raises:
        FolderInUseError: Another process has the right, and keeps it.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    file = _taken(path, folder, patience)
    _held.add(file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
        _held.discard(file)
        file.close()


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file unless it is locked through another one, by this process or another; return whether it is.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(file: IO[Any], path: Path) -> bool:
    """Return whether an open file is what lies at a path, and not one that was there before."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def launcher_advice(remedy: str) -> str:
    """Return what to say where a cluster's launcher has started several processes side by side; "" where it has not.

    Args:
        remedy: What to do about it.
    """
    for name in _TASKS:
        number = os.environ.get(name, "")
        if number.isdecimal() and int(number) > 1 and "WORLD_SIZE" not in os.environ:
            return f" {name} is {number}: as many tasks were started, which know nothing of one another. {remedy}"
    return ""


def _taken(path: Path, folder: Path, patience: float) -> IO[str]:
    """Return the file at a path, locked and with this process noted in it."""
    deadline, told = time.monotonic() + patience, False
    while True:
        file = path.open("a+")
        try:
            if try_lock(file):
                if is_at(file, path):
                    _note_holder(file)
                    return file
                file.close()
                continue  # the process before has removed it on its way out
        except OSError as error:
            log.warning(
                "%s is on a file system without locks (%s): nothing keeps two processes from writing into it.",
                folder,
                error.strerror,
            )
            return file
        holder = _holder(file)
        file.close()
        if time.monotonic() >= deadline:
            raise FolderInUseError(
                f"One process at a time may write into a folder, but {holder} writes into {folder}. Wait for it, end "
                f"it, or choose another folder.{'' if launched() else launcher_advice(_TORCHRUN)}"
            )
        if not told:
            log.info("Waiting for %s, which writes into %s.", holder, folder)
            told = True
        time.sleep(_PAUSE)


def _note_holder(file: IO[str]) -> None:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}) + "\n")
        file.flush()


def _holder(file: IO[str]) -> str:
    """Return in words who has noted itself in a lock file."""
    try:
        file.seek(0)
        note = json.loads(file.read())
        return f"process {note['pid']} on {note['host']} (since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


_held: set[IO[Any]] = set()


def _forget_in_child() -> None:
    """Let go, in a process that was forked, of what its parent holds, so that it ends with the parent."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
