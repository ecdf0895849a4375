"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from pgpc.runtime import files
from pgpc.runtime.files import remove_unfinished, scratch_folder, sha256, write_file


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


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that loses its power between the two would have an empty file of that name."""
    steps: list[tuple[str, bytes]] = []
    sync, replace, path = os.fsync, os.replace, tmp_path / "c.bin"

    def watched_sync(number: int) -> None:
        sync(number)
        steps.append(("sync", next(tmp_path.glob("c.bin.*.tmp")).read_bytes()))

    def watched_replace(old: Path, new: Path) -> None:
        steps.append((new.name, Path(old).read_bytes()))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_file(path, lambda file: file.write(b"whole"))
    assert steps == [("sync", b"whole"), ("c.bin", b"whole")]


def test_a_file_that_was_taken_for_abandoned_before_it_was_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, path = files.try_lock, tmp_path / "c.bin"

    def late(file: IO[bytes]) -> bool:
        if Path(file.name) == first[0]:
            first[0].unlink()
        return lock(file)

    first = [tmp_path / "c.bin.00000001.tmp"]
    names = iter(["00000001", "00000002"])
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: next(names))
    monkeypatch.setattr(files, "try_lock", late)
    write_file(path, lambda file: file.write(b"whole"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.bin"] and path.read_bytes() == b"whole"


def test_what_has_taken_the_place_of_an_abandoned_file_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, lock = tmp_path / "c.bin.0a.tmp", files.try_lock
    left.write_bytes(b"abandoned")

    def late(file: IO[bytes]) -> bool:
        left.unlink()
        left.write_bytes(b"of another process")
        return lock(file)

    monkeypatch.setattr(files, "try_lock", late)
    remove_unfinished(tmp_path / "c.bin")
    assert left.read_bytes() == b"of another process"


def test_what_is_replaced_may_keep_another_name(tmp_path: Path) -> None:
    for content in (b"1", b"2", b"3"):
        write_file(tmp_path / "new", lambda file, content=content: file.write(content), previous=tmp_path / "old")
    assert ((tmp_path / "new").read_bytes(), (tmp_path / "old").read_bytes()) == (b"3", b"2")


KILLED = """
import os, signal, sys
from pathlib import Path
from pgpc.runtime.files import scratch_folder, write_file
path = Path(sys.argv[1])

def die(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

with scratch_folder("pgpc-test-", path.parent) as folder:
    (folder / "half").write_text("half")
    write_file(path, die)
"""


def test_what_a_killed_process_has_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -signal.SIGKILL
    (tmp_path / "c.bin.123.tmp").write_bytes(b"of an earlier version, which called it after its process")
    left = {entry.name for entry in tmp_path.iterdir()}
    assert len([name for name in left if name.endswith(".tmp")]) == 2 and len(left) == 3

    def write(file: IO[bytes]) -> None:
        remove_unfinished(path)  # as another process may that reads the file
        file.write(b"new")

    write_file(path, write)
    with scratch_folder("pgpc-test-", tmp_path) as mine, scratch_folder("pgpc-test-", tmp_path) as another:
        assert mine.is_dir() and list(another.iterdir()) == []
        assert len(list(tmp_path.glob("pgpc-test-*"))) == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"c.bin"}
    assert path.read_bytes() == b"new"


def test_a_scratch_folder_without_a_lock_is_abandoned_when_it_is_old(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("young", 60)):
        folder = tmp_path / f"pgpc-test-{name}"
        folder.mkdir()
        os.utime(folder, (time.time() - age,) * 2)
    with scratch_folder("pgpc-test-", tmp_path):
        assert not (tmp_path / "pgpc-test-old").exists() and (tmp_path / "pgpc-test-young").exists()
