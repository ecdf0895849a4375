"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

import pytest

from pgpc.runtime.files import sha256, write_file


def test_a_file_and_its_folder_are_made(tmp_path: Path) -> None:
    write_file(tmp_path / "a/b/c.bin", lambda file: file.write(b"new"))
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c.bin"]


def test_until_all_is_written_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    write_file(path, write)
    assert path.read_bytes() == b"new"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_file(path, fail)
    assert path.read_bytes() == b"old" and [other.name for other in tmp_path.iterdir()] == ["c.bin"]


@pytest.mark.parametrize("size", [0, 10, 2**20 + 1])
def test_checksums_are_those_of_the_contents(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()
