"""Runs whose folder is on S3: they are written on this machine and copied after each report."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

from pgpc.runtime import storage

log = logging.getLogger(__name__)


def working_folder(url: str) -> Path:
    """Return where a run that is to lie at `url` is written: ``runs/{hash}`` in the cache folder, always the same."""
    return storage.cache_folder() / "runs" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def clear(folder: Path) -> None:
    """Forget what an earlier run at the same address left on this machine."""
    shutil.rmtree(folder, ignore_errors=True)
    with storage.cache_errors(folder):
        folder.mkdir(parents=True)


def copy_up(folder: Path, url: str, *, last: bool) -> None:
    """Copy what is new in a run's folder. While there is another report to come, a failure is only warned of.

    Raises:
        OSError: the last copy failed; what was to be copied is in `folder`.
    """
    try:
        storage.sync_up(folder, url)
    except OSError as error:
        if last:
            raise type(error)(f"{error} The run is complete in {folder}; copy it by hand.") from error
        log.warning("%s Training goes on; the next report is copied with what is missing.", error)
