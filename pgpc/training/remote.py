"""Runs whose folder is on S3: they are written on this machine and copied after each report."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from pgpc.runtime import distributed, locks, storage
from pgpc.runtime.lease import Lease, leased

log = logging.getLogger(__name__)


def working_folder(url: str) -> Path:
    """Return where a run that is to lie at `url` is written: ``runs/{hash}`` in the cache folder, always the same."""
    return storage.cache_folder() / "runs" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def clear(folder: Path) -> None:
    """Forget what an earlier run at the same address left on this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    with storage.cache_errors(folder):
        folder.mkdir(parents=True)


@contextlib.contextmanager
def sole_writer(folder: Path, url: str | None, patience: float) -> Iterator[Lease | None]:
    """Let process 0 have the right to write into a run's folder and to its address on S3, where it has one.

    Args:
        folder: The run's folder on this machine.
        url: The address that it is copied to, or None.
        patience: Seconds to wait for another process that has the right.

    Raises:
        FolderInUseError: Another process has it.
    """
    if distributed.rank() != 0:
        yield None
    elif url is None:
        with locks.sole_writer(folder, patience=patience):
            yield None
    else:
        beside = folder.with_name(f"{folder.name}-writer")  # the folder itself is emptied at the start
        with locks.sole_writer(beside, patience=patience), leased(url, beside / "holder") as lease:
            yield lease


def copy_up(folder: Path, url: str, lease: Lease | None, *, last: bool) -> None:
    """Copy what is new in a run's folder. While there is another report to come, a failure is only warned of.

    Args:
        folder: The folder.
        url: The address of the copy.
        lease: The right to write there.
        last: Whether there is no other report to come.

    Raises:
        FolderInUseError: Another process has taken the right to write there.
        OSError: The last copy failed; what was to be copied is in `folder`.
    """
    if lease is not None:
        lease.check()
    try:
        storage.sync_up(folder, url)
    except OSError as error:
        if last:
            raise type(error)(f"{error} The run is complete in {folder}; copy it by hand.") from error
        log.warning("%s Training goes on; the next report is copied with what is missing.", error)
