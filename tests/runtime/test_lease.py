"""One process at a time writes below an address on S3, though S3 has no locks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pgpc.runtime import lease, storage
from pgpc.runtime.lease import LEASE, Lease, leased
from pgpc.runtime.locks import FolderInUseError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_BEAT", 0.2), ("_EXPIRED", 2.0), ("_SETTLE", 0.0)):
        monkeypatch.setattr(lease, name, seconds)


def test_a_second_process_is_refused_as_long_as_the_first_lives(s3: str, tmp_path: Path) -> None:
    with leased(s3, tmp_path / "a") as mine:
        with pytest.raises(
            FolderInUseError, match=r"One process at a time may write to s3://.* but process \d+ on .* d"
        ):
            leased(s3, tmp_path / "b").__enter__()
        mine.check()
    assert LEASE not in storage.sizes(s3), "it is given back"
    assert list(tmp_path.iterdir()) == [], "so that nobody has to be known dead"
    with leased(s3, tmp_path / "b"):
        pass


def test_the_note_of_a_killed_process_expires(s3: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Lease(s3).take("")  # and then it was killed
    with caplog.at_level(logging.INFO), leased(s3, tmp_path / "elsewhere"):
        assert "Waiting up to 2 s to see whether process" in caplog.text


def test_a_process_of_this_machine_is_not_waited_for(s3: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed = Lease(s3)
    killed.take("")
    (tmp_path / "holder").write_text(killed.holder)
    with caplog.at_level(logging.INFO), leased(s3, tmp_path / "holder"):
        assert "Waiting" not in caplog.text


def test_one_that_was_not_heard_of_stops_when_another_has_begun(s3: str) -> None:
    first, second = Lease(s3), Lease(s3)
    first.take("")
    second.take(first.holder)
    first.renew()
    with pytest.raises(FolderInUseError, match="has begun to while this one was not heard of"):
        first.check()
    first.release()
    assert LEASE in storage.sizes(s3), "that of the second"
    second.renew()
    second.check()


def test_of_two_that_begin_together_one_goes_on(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has found nobody; the one whose note is overwritten sees it before it writes anything else."""
    first, second = Lease(s3), Lease(s3)
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: second.renew())
    with pytest.raises(FolderInUseError, match="has begun to"):
        first.take("")
    second.check()


def test_without_s3_a_warning_says_what_is_missing(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(storage, "_ATTEMPTS", 1)
    with caplog.at_level(logging.WARNING), leased(s3, tmp_path / "a") as lease_:
        lease_.check()
    assert "Nothing keeps two processes from writing to s3://" in caplog.text
