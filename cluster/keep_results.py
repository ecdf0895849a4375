"""On the head: keeps the results in a bucket: ``keep_results.py save|restore FOLDER s3://BUCKET/NAME``."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from pgpc.runtime import storage

STUDY = "study.db"
"""Name of a study's database in the folder of a sweep."""
SAVED = "study.saved.db"
"""Name of its backup, which is what a new cluster begins with."""


def save(folder: Path, url: str) -> None:
    """Copy what is new or changed to S3, also while sweeps run.

    A database that is being written is of no use as a copy; each study is first backed up into a file beside it.

    Args:
        folder: The folder of the results.
        url: The address on S3.
    """
    for study in folder.glob(f"*/{STUDY}"):
        backup = study.with_name(SAVED)
        if backup.exists() and backup.stat().st_mtime_ns >= study.stat().st_mtime_ns:
            continue
        temporary = study.with_name(f"{SAVED}.tmp")
        with contextlib.closing(sqlite3.connect(study)) as live, contextlib.closing(sqlite3.connect(temporary)) as copy:
            live.backup(copy)
        os.replace(temporary, backup)
    storage.sync_up(folder, url)


def restore(folder: Path, url: str) -> None:
    """Copy from S3 what the folder lacks; files that exist stay as they are.

    Args:
        folder: The folder of the results.
        url: The address on S3.
    """
    names = set(storage.sizes(url))
    for name in sorted(names):
        source = name
        if Path(name).name == STUDY and str(Path(name).with_name(SAVED)) in names:
            source = str(Path(name).with_name(SAVED))
        if not (folder / name).exists():
            storage.download(f"{url}/{source}", folder / name)


def main() -> None:
    """Do what the command line says."""
    what, where, address = sys.argv[1:]
    {"save": save, "restore": restore}[what](Path(where), address)


if __name__ == "__main__":
    main()
