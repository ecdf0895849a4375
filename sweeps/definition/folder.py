"""The folder of a sweep: what lies where in it, and the lock that one driver holds on it."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from pgpc.runtime.locks import launcher_advice, try_lock
from pgpc.runtime.unix import fcntl
from sweeps.common.commands import sweep_command
from sweeps.common.faults import probe

SWEEP_FILE = "sweep.json"
"""Says what the sweep is; see :class:`sweeps.definition.sweep.Sweep`."""
RESULTS_FILE = "results.parquet"
"""One row per run; see :mod:`sweeps.results.rows`."""
CONFIRMATION = "confirmation"
"""Name of the folder, in that of a search, of the sweep that confirms its best trials."""
TRUNKS = "warmups"
"""Name of the folder, beside those of the sweeps, of the trunks that they share; older than the word trunk."""
_LOCK = ".lock"

log = logging.getLogger(__name__)
_OF_A_SWEEP = (
    "trials/*",
    "*.db",
    "*.db-journal",
    "*.parquet",
    "best/*",
    f"{TRUNKS}/*",
    f"{CONFIRMATION}/*",
    "report.html",
)
_MANY = 5  # names that are too many to be listed


def trials_folder(folder: Path) -> Path:
    """Return where each run of the sweep in `folder` has a directory of its own; TensorBoard's logdir."""
    return folder / "trials"


def check_new(folder: Path) -> None:
    """Refuse a folder for a new sweep in which another one has left something.

    Its trials, study or rows would be taken for those of the new sweep, though they were trained with other settings. A
    sweep that was killed before it had written its sweep.json leaves empty folders, which are fine, as are files of the
    user's.

    Args:
        folder: The folder, which need not be there.

    Raises:
        ValueError: There is something of another sweep in it.
    """
    found = sorted({path for pattern in _OF_A_SWEEP for path in folder.glob(pattern)})
    if found:
        names = ", ".join(str(path.relative_to(folder)) for path in found[:_MANY]) + ", .." * (len(found) > _MANY)
        raise ValueError(
            f"A new sweep needs a folder of its own, but {folder} has {names} of another one, and no {SWEEP_FILE}, "
            "which says what sweep that is. Put that file back and resume the sweep, move the folder away, or choose "
            "another --name."
        )


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Make a sweep's folder and hold its lock; remove the folder again if the sweep has not started by the end.

    Raises:
        ValueError: The folder cannot be written, or another driver holds it.
    """
    made = not folder.exists()
    try:
        trials_folder(folder).mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a")  # and not "w": it may be a link to something that is not ours to empty
        probe(folder)
    except OSError as error:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(
            f"The results folder must be writable, but {folder} is not ({error.strerror}). "
            "Make it so, free space there, or choose another --storage."
        ) from None
    with lock:
        try:
            is_free = try_lock(lock)
        except OSError as error:
            is_free = True
            log.warning(
                "%s is on a file system without locks (%s): nothing keeps two drivers apart.", folder, error.strerror
            )
        if not is_free:
            advice = launcher_advice(_one_task())
            raise ValueError(f"Another process is running the sweep in {folder}. Wait for it, or end it.{advice}")
        try:
            yield
        finally:
            if made and not (folder / SWEEP_FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _one_task() -> str:
    return f"A sweep is one process, which starts its workers itself: srun --ntasks=1 {sweep_command()} ..."


def is_running(folder: Path) -> bool:
    """Return whether a driver, in whatever process, holds the lock of the sweep in `folder`."""
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False
