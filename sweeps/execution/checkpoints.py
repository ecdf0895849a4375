"""The checkpoint that a run of a sweep goes on from, and the list in its directory that says which one that is.

There is one: a new one takes the place of that before it, once all of it is there. The list has the form that Ray Train
gives to its own, so that runs which were begun by Train itself go on.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pgpc.runtime.files import write_file
from pgpc.runtime.json_text import parse_json

CHECKPOINT = "checkpoint.pt"
"""Name of the file in a checkpoint's folder; that of pgpc.models.checkpoint, which imports torch."""
_LIST = "checkpoint_manager_snapshot.json"
_PARTIAL = "checkpoint-partial"  # a name that nobody takes for that of a checkpoint
_LISTED, _NEWEST, _NAME = "checkpoint_results", "latest_checkpoint_result", "checkpoint_dir_name"


def snapshot_file(directory: Path) -> Path:
    """Return where the list of a run's checkpoints is."""
    return directory / _LIST


def newest_checkpoint(directory: Path) -> str | None:
    """Return the name of the folder of the checkpoint that a run goes on from.

    Returns:
        None where there is none yet, or the list is damaged, see `mend_snapshot`.
    """
    try:
        return str(parse_json(snapshot_file(directory).read_text())[_NEWEST][_NAME])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep_checkpoint(directory: Path, checkpoint: Path, metrics: Mapping[str, float]) -> None:
    """Copy a checkpoint into a run's directory, where it takes the place of the one before.

    Args:
        directory: The directory of the run.
        checkpoint: The folder that holds it.
        metrics: What the run reports with it, for the list.

    Raises:
        OSError: The directory cannot be written; the checkpoint before is still there.
    """
    name = f"checkpoint_{datetime.now():%Y-%m-%d_%H-%M-%S.%f}"
    newest = newest_checkpoint(directory)
    if newest is not None and name <= newest:  # the clock of this machine is behind that of another
        name = f"{newest}-1"
    partial = directory / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    shutil.copytree(checkpoint, partial)
    partial.rename(directory / name)
    _write_list(directory, name, metrics)
    drop_unlisted_checkpoints(directory)


def mend_snapshot(directory: Path) -> None:
    """Make the list of a run's checkpoints name what is there.

    A copy of a run that was interrupted may have a list that is newer than its checkpoints, or one that was cut short.
    The run then goes on from the newest checkpoint that is complete, or starts afresh where there is none.

    Args:
        directory: The directory of the run.

    Raises:
        OSError: The directory cannot be written.
    """
    file = snapshot_file(directory)
    if not file.is_file() or _names_what_is_there(file):
        return
    # A file that was cut short is no zip archive any more: its table of contents is at its end.
    complete = [
        found.parent.name for found in directory.glob(f"checkpoint_*/{CHECKPOINT}") if zipfile.is_zipfile(found)
    ]
    if complete:
        _write_list(directory, max(complete), {})
    else:
        file.unlink()


def drop_unlisted_checkpoints(directory: Path) -> None:
    """Remove the checkpoints in a run's directory that its list does not name.

    They are older, or a process was killed before it had listed one. Nothing is removed where the list is missing, or
    names one that is not there.
    """
    try:
        listed = {entry[_NAME] for entry in parse_json(snapshot_file(directory).read_text())[_LISTED]}
    except (OSError, ValueError, TypeError, KeyError):
        return
    if listed and all((directory / name).is_dir() for name in listed):
        for folder in directory.glob("checkpoint_*"):
            if folder.is_dir() and folder.name not in listed:
                shutil.rmtree(folder, ignore_errors=True)


def _write_list(directory: Path, name: str, metrics: Mapping[str, float]) -> None:
    newest: dict[str, Any] = {_NAME: name, "metrics": dict(metrics)}
    text = json.dumps({_LISTED: [newest], _NEWEST: newest})
    write_file(snapshot_file(directory), lambda opened: opened.write(text.encode()))


def _names_what_is_there(file: Path) -> bool:
    """Return whether a list of checkpoints can be read, and each of them is there."""
    try:
        stored = parse_json(file.read_text())
        found = [*stored[_LISTED], *filter(None, [stored.get(_NEWEST)])]
        return all((file.parent / result[_NAME] / CHECKPOINT).is_file() for result in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
