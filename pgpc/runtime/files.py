"""Files that appear whole or not at all, and their checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file, which replaces one of the same name once all is written; its folder is made if need be.

    Args:
        path: The path of the file.
        write: A function that is given the open file and writes the contents; where it raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
