"""One process at a time writes into a folder; the right ends with its process, however that ends."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from pgpc.runtime import locks
from pgpc.runtime.files import write_file
from pgpc.runtime.locks import LOCK_FILE, FolderInUseError, sole_writer

HOLD = """
import sys, time
from pathlib import Path
from pgpc.runtime.files import write_file
from pgpc.runtime.locks import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_and_told_who_the_first_is(
    holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name in ("SLURM_NTASKS", "SLURM_NPROCS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FolderInUseError, match=rf"but process {holder.pid} on .* writes into") as refusal:
        sole_writer(tmp_path).__enter__()
    assert "torchrun" not in str(refusal.value)
    with pytest.raises(FolderInUseError, match=rf"but process {holder.pid} on "):  # the note is still there
        sole_writer(tmp_path, patience=0.1).__enter__()
    monkeypatch.setenv("SLURM_NTASKS", "1")
    with pytest.raises(FolderInUseError) as refusal:
        sole_writer(tmp_path).__enter__()
    assert "torchrun" not in str(refusal.value), "a task that is alone has no sisters"
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises(FolderInUseError, match=r"SLURM_NTASKS is 4: .* srun --ntasks-per-node=1 torchrun"):
        sole_writer(tmp_path).__enter__()


def test_a_process_that_is_killed_keeps_nothing(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    with sole_writer(tmp_path, patience=10):
        pass


def test_nothing_is_left_in_the_folder_and_it_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_writer(tmp_path / "new"):
            assert (tmp_path / "new" / LOCK_FILE).is_file()
        assert list((tmp_path / "new").iterdir()) == []


def test_the_lock_of_a_file_that_is_gone_is_no_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process before removes its file on its way out, while another one has it open to wait for it."""
    lock, calls = locks.try_lock, list[bool]()

    def late(file: IO[str]) -> bool:
        calls.append(True)
        if len(calls) == 1:
            (tmp_path / LOCK_FILE).unlink()
        return lock(file)

    monkeypatch.setattr(locks, "try_lock", late)
    with sole_writer(tmp_path):
        assert len(calls) == 2 and (tmp_path / LOCK_FILE).is_file()
        with pytest.raises(FolderInUseError):
            sole_writer(tmp_path).__enter__()


def test_the_file_is_removed_before_the_right_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it might be that of the next process, and a third one would have the right, too."""
    unlink, held = Path.unlink, list[bool]()

    def watched(path: Path, missing_ok: bool = False) -> None:
        with path.open() as file:
            held.append(not locks.try_lock(file))
        unlink(path, missing_ok=missing_ok)

    with sole_writer(tmp_path):
        monkeypatch.setattr(Path, "unlink", watched)
    monkeypatch.undo()
    assert held == [True]


def _has_lock(folder: Path, answer: multiprocessing.Queue[bool]) -> None:
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    answer.put(any(link.exists() and link.readlink() == folder / LOCK_FILE for link in links))


def test_a_forked_process_does_not_keep_the_right_beyond_its_parent(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    with sole_writer(tmp_path):
        child = context.Process(target=_has_lock, args=(tmp_path, answer))
        child.start()
        assert answer.get(timeout=20) is False
        child.join()
        with pytest.raises(FolderInUseError):
            sole_writer(tmp_path).__enter__()


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with sole_writer(tmp_path):
        assert "is on a file system without locks (No locks available)" in caplog.text
    write_file(tmp_path / "a", lambda file: file.write(b"whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
