"""What an error's text says about its cause."""

from __future__ import annotations

import os
from pathlib import Path

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
