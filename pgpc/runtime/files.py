"""Files that appear whole or not at all, folders for what is not to last, and checksums.

A file that is being written, or a folder for what is not to last, is locked as long as its process lives. One that
nobody holds was left by a process that was killed, on whatever machine, and the next process removes it.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from pgpc.runtime.locks import LOCK_FILE, is_at, try_lock

_UNLOCKED_SECONDS = 3600.0
"""Age at which a scratch folder without a lock is taken for abandoned: between the two steps of making one it has none,
and earlier versions made none."""


def write_file(path: Path, write: Callable[[IO[bytes]], object], *, previous: Path | None = None) -> None:
    """Write a file, which replaces one of the same name once all is written; its folder is made if need be.

    What processes that were killed have left of the same file is removed.

    Args:
        path: The path of the file.
        write: A function that is given the open file and writes the contents; where it raises, `path` stays as it was.
        previous: What the file that is replaced is called from then on; None drops it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path)
    file, temporary = _open_temporary(path)
    try:
        with file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if previous is not None and path.exists():
                os.replace(path, previous)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_list(file: Path) -> list[str]:
    """Return the names that a list of images has, one a line.

    Raises:
        ValueError: The file names none, or is no text.
        OSError: It cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"A list of images must be text in UTF-8, but {file} is not: {error.reason}.") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"A list of images must name at least one, but {file} is empty.")
    return names


def expand_user(path: Path | str) -> Path:
    """Return a path in which "~" is the user's home.

    Raises:
        ValueError: The user has no home, or there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f'"~" must be a home, but of {str(path)!r} there is none. Write the path without it.'
        ) from error


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left of a file that they were writing, as far as this process may."""
    pattern = re.compile(rf"\.?{re.escape(path.name)}\.[0-9a-f]+\.tmp")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            if pattern.fullmatch(entry.name):
                _remove_abandoned(Path(entry.path), Path(entry.path), Path.unlink)


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Give an empty folder for what is not to last; it is removed at the end.

    Those of the same prefix that killed processes have left are removed, too.

    Args:
        prefix: Beginning of its name.
        parent: Folder to make it in; None for the system's folder of temporary files.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    for name in glob.glob(f"{glob.escape(str(where / prefix))}*"):
        _remove_scratch(Path(name))
    with tempfile.TemporaryDirectory(prefix=prefix, dir=where) as name, (Path(name) / LOCK_FILE).open("w") as lock:
        with contextlib.suppress(OSError):  # no locks there: then nobody takes it for abandoned
            try_lock(lock)
        folder = Path(name) / "files"  # apart from the lock: the whole folder may be copied by who gets it
        folder.mkdir()
        yield folder


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _open_temporary(path: Path) -> tuple[IO[bytes], Path]:
    """Return a new file beside `path`, open and locked, and its own path."""
    while True:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        file = temporary.open("xb")
        try:
            locked = try_lock(file)
        except OSError:  # no locks here, so that nobody removes what is not locked either
            return file, temporary
        if locked and is_at(file, temporary):
            return file, temporary
        file.close()  # somebody took it for abandoned before it was locked


def _remove_scratch(folder: Path) -> None:
    """Remove a scratch folder that nobody holds."""
    lock = folder / LOCK_FILE
    with contextlib.suppress(OSError):
        if lock.exists():
            _remove_abandoned(lock, folder, functools.partial(shutil.rmtree, ignore_errors=True))
        elif time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(lock: Path, what: Path, remove: Callable[[Path], object]) -> None:
    """Remove something if the lock of a file can be had."""
    with contextlib.suppress(OSError), lock.open("rb+") as file:
        if try_lock(file) and is_at(file, lock):
            remove(what)
