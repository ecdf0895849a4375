"""What an error's text says about its cause."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.common import faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OSError: [Errno 28] No space left on device: '/x/checkpoint.pt'", True),
        ("(sqlite3.OperationalError) attempt to write a readonly database", True),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/x'", False),
        ("PermissionError: [Errno 13] Permission denied: '/x'", False),
    ],
)
def test_errors_of_the_disk(text: str, expected: bool) -> None:
    assert faults.cannot_write(text) is expected


def test_cause_is_found_below_what_wraps_it() -> None:
    try:
        try:
            raise OSError(28, os.strerror(28))
        except OSError as error:
            raise RuntimeError("the commit failed") from error
    except RuntimeError as error:
        assert faults.chain(error) == "the commit failed\n[Errno 28] No space left on device"


def test_a_folder_is_probed_by_writing_into_it(tmp_path: Path) -> None:
    faults.probe(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        faults.probe(tmp_path / "file")


FULL = f"[Errno 28] {os.strerror(28)}"


def test_which_disk_it_was_is_said_by_the_path_that_the_error_names(tmp_path: Path) -> None:
    here = faults.located(f"OSError: {FULL}: '{tmp_path}/0000/checkpoint.pt'\nand more", tmp_path)
    assert faults.is_of_results(here) and not faults.is_of_machine(here)
    assert here.startswith(f"The results folder cannot be written from {socket.gethostname()}: OSError: [Errno 28]")
    there = faults.located(f"OSError: [Errno 5] {os.strerror(5)}: '/data/shards/0.arrow'", tmp_path)
    assert faults.is_of_machine(there) and not faults.is_of_results(there)
    assert socket.gethostname() in there and "TMPDIR" in there and "and more" not in here + there
    assert faults.cannot_write(here) and faults.cannot_write(there)


def test_without_a_path_it_is_the_disk_that_cannot_be_written_or_has_less_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, temporary = tmp_path / "results", tmp_path / "temporary"
    for folder in (results, temporary):
        folder.mkdir()
    monkeypatch.setattr(faults.tempfile, "gettempdir", lambda: str(temporary))
    assert faults.is_of_results(faults.located(FULL, results)), "one disk for both"
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev or not faults.can_write(shared):
        pytest.skip("there is no second disk")
    monkeypatch.setattr(faults.tempfile, "gettempdir", lambda: str(shared))
    for free, is_of_results in ((1, True), (3, False)):
        sizes = {results: free, shared: 2}
        monkeypatch.setattr(faults.shutil, "disk_usage", lambda path, sizes=sizes: SimpleNamespace(free=sizes[path]))
        assert faults.is_of_results(faults.located(FULL, results)) is is_of_results
    (tmp_path / "file").touch()
    assert faults.is_of_results(faults.located(FULL, tmp_path / "file")), "it cannot be written at all"


@pytest.mark.parametrize(
    ("code", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False), (errno.ESTALE, False)]
)
def test_a_quota_is_as_good_as_a_full_disk(code: int, full: bool) -> None:
    text = f"OSError: [Errno {code}] {os.strerror(code)}"
    assert faults.cannot_write(text) and faults.is_full(text) is full


def test_a_database_that_is_locked_is_no_disk() -> None:
    text = "(sqlite3.OperationalError) database is locked"
    assert faults.is_locked(text) and not faults.cannot_write(text)
