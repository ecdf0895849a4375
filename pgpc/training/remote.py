"""Runs whose folder is on S3: they are written on this machine and copied after each report."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgpc.bases.state import CHECKPOINT, PREVIOUS
from pgpc.runtime import storage

log = logging.getLogger(__name__)


def working_folder(url: str) -> Path:
    """Where a run is written that is to lie at `url`: ``runs/{hash}`` in the cache folder, the same each time."""
    return storage.cache_folder() / "runs" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def clear(folder: Path) -> None:
    """Forget what an earlier run at the same address left on this machine."""
    shutil.rmtree(folder, ignore_errors=True)
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


@contextlib.contextmanager
def fetched(where: Path | str) -> Iterator[Path]:
    """A folder of this machine with the checkpoints at `where`; a path is given back as it is.

    Raises:
        FileNotFoundError: there is none at an address on S3.
        OSError: S3 cannot be reached, or refuses.
    """
    if not storage.is_url(where):
        yield Path(where)
        return
    where = str(where).removesuffix(f"/{CHECKPOINT}")
    with tempfile.TemporaryDirectory(prefix="pgpc-checkpoint-") as folder:
        names = (CHECKPOINT, PREVIOUS)
        if not any([storage.download(str(storage.join(where, name)), Path(folder) / name) for name in names]):
            raise FileNotFoundError(f"No {CHECKPOINT} at {where}.")
        yield Path(folder)
