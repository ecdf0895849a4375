"""Files of checkpoints: how they are written so that one of two is always complete, and how they are read."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pgpc.models.weight_files import check_archive
from pgpc.runtime import storage
from pgpc.runtime.files import remove_unfinished, scratch_folder, write_file

CHECKPOINT = "checkpoint.pt"
"""Name of the file inside a checkpoint folder."""

PREVIOUS = "previous.pt"
"""Name that a checkpoint gets when the next one is written."""

BEST = "best.pt"
"""Name of the file that holds the best networks of a run, without what only resuming needs."""

SCRATCH = "pgpc-checkpoint-"
"""Beginning of the names of folders, among the system's temporary files, that hold a checkpoint for a while."""


class NewestCheckpoint(NamedTuple):
    """The newest checkpoint of a folder that can be read.

    Attributes:
        content: What was saved.
        file: The file that it was read from, ``checkpoint.pt`` or ``previous.pt``.
        problem: Why ``checkpoint.pt`` was passed over; empty where it was read.
    """

    content: dict[str, Any]
    file: Path
    problem: str


def write_checkpoint(folder: Path, content: Mapping[str, Any], *, damaged: Path | None = None) -> None:
    """Write ``folder/checkpoint.pt``: complete, or not at all.

    The checkpoint that is there becomes ``previous.pt``: at any instant one of the two is complete.

    Args:
        folder: The folder; it is made where there is none.
        content: Tensors and plain data, which ``torch.load(weights_only=True)`` reads back.
        damaged: A checkpoint that could not be read. It is overwritten, and does not take the place of the previous
            one, which was read instead.
    """
    path = folder / CHECKPOINT
    previous = None if path.resolve() == damaged else folder / PREVIOUS
    write_file(path, lambda file: torch.save(dict(content), file), previous=previous)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of ``checkpoint.pt``, on the CPU.

    Args:
        folder: The folder that holds it.

    Raises:
        FileNotFoundError: There is none in `folder`.
        ValueError: It is damaged, or not a checkpoint of this program.
    """
    path, previous = Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS
    try:
        return _read(path)
    except (FileNotFoundError, ValueError) as error:
        if previous.is_file():
            remedy = f"There is an earlier one, {previous.name}: rename it to {CHECKPOINT} to use it."
        elif isinstance(error, FileNotFoundError):
            remedy = "Give the folder that holds it."
        else:
            remedy = "Take an earlier one or start afresh."
        raise type(error)(f"{error} {remedy}") from error


def read_newest(folder: Path) -> NewestCheckpoint:
    """Return ``checkpoint.pt``, or ``previous.pt`` where that is missing or damaged.

    What processes that were killed while they wrote one have left is removed.

    Args:
        folder: The folder that holds them.

    Raises:
        FileNotFoundError: There is neither in `folder`.
        ValueError: None that is there can be read.
    """
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS
    remove_unfinished(newest)
    if not previous.is_file():
        return NewestCheckpoint(read_checkpoint(folder), newest, "")
    try:
        return NewestCheckpoint(_read(newest), newest, "")
    except (FileNotFoundError, ValueError) as error:
        problem = str(error)
    try:
        return NewestCheckpoint(_read(previous), previous, problem)
    except ValueError as error:
        raise ValueError(f"{folder} holds no checkpoint that can be read. {problem} {error}") from error


def read_metrics(folder: Path) -> dict[str, float]:
    """Return the last report in ``checkpoint.pt``, without reading what was learned.

    Args:
        folder: The folder that holds it.

    Raises:
        FileNotFoundError: There is no checkpoint in `folder`.
        ValueError: It is cut short, or not a checkpoint of this program.
    """
    return current_names(_read_entry(Path(folder) / CHECKPOINT, "metrics"))


def read_config_text(folder: Path) -> str:
    """Return the config in the newest checkpoint of a folder, as JSON, without reading what was learned.

    Where ``checkpoint.pt`` is missing or damaged it is that of ``previous.pt``, with which the run is resumed then.

    Args:
        folder: The folder that holds them.

    Raises:
        FileNotFoundError: There is neither in `folder`.
        ValueError: None that is there can be read.
    """
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS
    if previous.is_file():
        with contextlib.suppress(FileNotFoundError, ValueError):
            return str(_read_entry(newest, "config"))
        return str(_read_entry(previous, "config"))
    return str(_read_entry(newest, "config"))


def _read_entry(path: Path, name: str) -> Any:
    """Return one entry of a checkpoint; its tensors are not read."""
    try:
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)[name]
    except FileNotFoundError:
        raise
    except Exception as error:  # see `_read`
        reason = type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint ({reason}). Take another one.") from error


def current_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a report's metrics by the names that they have today.

    How full the memory bank is was once reported as ``memory/..``, beside ``gpu_memory``.

    Args:
        metrics: A report, perhaps of an older version.
    """
    return {name.replace("memory/", "bank_fill/", 1): value for name, value in metrics.items()}


@contextlib.contextmanager
def fetched(where: Path | str) -> Iterator[Path]:
    """Give a folder of this machine with the checkpoints at `where`; a path is given back as it is.

    Args:
        where: A folder, or an address on S3 of a folder or of its ``checkpoint.pt``.

    Raises:
        FileNotFoundError: There is no checkpoint at an address on S3.
        OSError: S3 cannot be reached, or refuses.
    """
    if not storage.is_url(where):
        yield Path(where)
        return
    where = str(where).removesuffix(f"/{CHECKPOINT}")
    with scratch_folder(SCRATCH) as folder:
        names = (CHECKPOINT, PREVIOUS)
        if not any([storage.download(str(storage.join(where, name)), folder / name) for name in names]):
            raise FileNotFoundError(f"No {CHECKPOINT} at {where}.")
        yield folder


@contextlib.contextmanager
def fetched_file(url: str) -> Iterator[Path]:
    """Give a file of this machine with what is at an address on S3, such as that of a run's ``best.pt``.

    Args:
        url: The address.

    Raises:
        FileNotFoundError: There is nothing.
        OSError: S3 cannot be reached, or refuses.
    """
    with scratch_folder(SCRATCH) as folder:
        file = folder / url.rpartition("/")[2]
        if not storage.download(url, file):
            raise FileNotFoundError(f"Nothing at {url}.")
        yield file


def _read(path: Path) -> dict[str, Any]:
    """Return the content of one file, see `read_checkpoint`."""
    if not path.is_file():
        raise FileNotFoundError(f"No {path.name} in {path.parent}.")
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save writes
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise half a dozen types for a file that is no checkpoint
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({reason}). It is damaged or of another program."
        ) from error
    if not isinstance(content, dict) or not {"config", "step", "student"} <= content.keys():
        raise ValueError(f"{path} is no checkpoint of pgpc: it lacks config, step or student.")
    kinds = {"config": (str, "text"), "step": (int, "a whole number"), "student": (Mapping, "weights by name")}
    for name, (kind, words) in kinds.items():
        if not isinstance(content[name], kind):
            raise ValueError(
                f"{path} is no checkpoint of pgpc: its {name} must be {words}, but is {content[name]!r:.80}."
            )
    return content
