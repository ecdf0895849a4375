"""Work on shards that are not complete yet: it survives an interruption, and one process at a time continues it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pgpc.data.shards.manifest import MANIFEST, Manifest, ShardError, read_manifest
from pgpc.data.shards.writer import FinishedFile
from pgpc.runtime import storage
from pgpc.runtime.lease import leased
from pgpc.runtime.locks import is_at, try_lock

_JOURNAL = "journal.jsonl"


@dataclasses.dataclass(frozen=True, slots=True)
class PackSettings:
    """What the work depends on; work with other settings is not continued.

    Attributes:
        fingerprint: Checksum of everything that is packed.
        skip_bad: True where images that cannot be packed are left out.
    """

    fingerprint: str
    skip_bad: bool


@contextlib.contextmanager
def open_partial(out: Path | str, settings: PackSettings) -> Iterator[Partial]:
    """Yield the work on one place for shards, on which no other process works meanwhile.

    The work outlives an interruption and a loss of S3; it is deleted when the shards are published, and after an error.

    Args:
        out: The place of the shards: a resolved folder, or an address on S3.
        settings: The settings of the work.

    Raises:
        ValueError: Another process is at work.
        FolderInUseError: Another process is at work on the same address, on another machine.
        OSError: The folder cannot be made, or S3 cannot be reached.
    """
    if storage.is_url(out):
        folder = storage.cache_folder() / f"pack-{hashlib.sha256(out.encode()).hexdigest()[:16]}.partial"
    else:
        # Beside `out`, so that the rename at the end stays on one file system.
        folder = Path(out).with_name(f".{Path(out).name}.partial")
    with _lock(folder, out), _lease(folder, out):
        try:
            yield (
                _S3Partial(out, folder, settings) if storage.is_url(out) else _LocalPartial(Path(out), folder, settings)
            )
        except Exception as error:
            if not isinstance(error, storage.StorageError):
                if storage.is_url(out):
                    with contextlib.suppress(OSError):
                        _delete_unlisted(out)
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, out: Path | str) -> TextIO:
    """Make and lock a folder; closing the result, or the end of the process however it ends, releases the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # The process before may delete the folder while this one comes to it: then once more.
        with contextlib.suppress(FileNotFoundError):
            file = (folder / "lock").open("w")
            if not try_lock(file):
                file.close()
                raise ValueError(f"Another process packs into {out}. Wait until it has ended.")
            if is_at(file, folder / "lock"):
                return file
            file.close()


def _lease(folder: Path, out: Path | str) -> contextlib.AbstractContextManager[object]:
    """Have the right to write to an address on S3, also against other machines; that to a folder is its lock."""
    if not storage.is_url(out):
        return contextlib.nullcontext()
    return leased(out, folder.with_suffix(".holder"))


class Partial(ABC):
    """Finished shard files, and a journal of them.

    Args:
        folder: The folder of the files until they are published.
        settings: The settings of the work.
    """

    def __init__(self, folder: Path, settings: PackSettings) -> None:
        self._folder = folder
        self.shards = folder / "shards"
        self.shards.mkdir(exist_ok=True)
        self.finished = self._resumable(settings)
        for path in set(self.shards.iterdir()) - {self.shards / entry.file.name for entry in self.finished}:
            path.unlink()  # begun, but not finished
        lines = [dataclasses.asdict(settings), *(entry.to_json() for entry in self.finished)]
        (folder / _JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def keep(self, path: Path, finished: FinishedFile) -> FinishedFile:
        """Note a shard file as finished.

        Args:
            path: The path of the file.
            finished: The description of the file.

        Returns:
            The description of the file as it is kept.
        """
        kept = self._store(path, finished)
        with (self._folder / _JOURNAL).open("a") as journal:
            journal.write(json.dumps(kept.to_json()) + "\n")
        return kept

    def publish(self, manifest: Manifest) -> None:
        """Let the shards appear in their place, instead of those that are there."""
        with (self.shards / MANIFEST).open("w") as file:
            file.write(json.dumps(manifest.to_json(), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._replace()

    def _resumable(self, settings: PackSettings) -> list[FinishedFile]:
        """Return the files that the journal notes, or [] where they cannot be used."""
        try:
            # A last line without an end was being written when the process was killed.
            first, *lines = (self._folder / _JOURNAL).read_text().split("\n")[:-1]
            if json.loads(first) != dataclasses.asdict(settings):
                return []
            entries = [FinishedFile.from_json(json.loads(line)) for line in lines]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        sizes = self._sizes()
        complete = all(sizes.get(entry.file.name) == entry.file.size for entry in entries)
        return entries if complete else []

    @abstractmethod
    def _store(self, path: Path, finished: FinishedFile) -> FinishedFile:
        """Put a finished file where it is kept, and return its description there."""

    @abstractmethod
    def _replace(self) -> None:
        """Put the shards, whose manifest is written, in their place."""

    @abstractmethod
    def _sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of the files that are kept, by name."""


class _LocalPartial(Partial):
    """The work on a folder of this machine, whose shards replace those in `out` by a rename."""

    def __init__(self, out: Path, folder: Path, settings: PackSettings) -> None:
        self._out, replaced = out, folder / "replaced"
        if replaced.exists() and not out.exists():
            os.replace(replaced, out)  # a process was killed between the two renames of `_replace`
        super().__init__(folder, settings)

    def _store(self, path: Path, finished: FinishedFile) -> FinishedFile:
        return finished

    def _replace(self) -> None:
        if self._out.exists():
            os.replace(self._out, self._folder / "replaced")
        os.replace(self.shards, self._out)

    def _sizes(self) -> dict[str, int]:
        return file_sizes(self.shards)


class _S3Partial(Partial):
    """The work on shards on S3: each finished file is uploaded at once, and its space on the disk given back."""

    def __init__(self, url: str, folder: Path, settings: PackSettings) -> None:
        self._url = url
        super().__init__(folder, settings)

    def _store(self, path: Path, finished: FinishedFile) -> FinishedFile:
        # The name tells the contents, so that the files that the manifest on S3 lists now stay as they are.
        file = dataclasses.replace(finished.file, name=f"{path.stem}-{finished.file.sha256[:8]}.arrow")
        storage.upload(path, storage.join_url(self._url, file.name))
        path.unlink()
        return dataclasses.replace(finished, file=file)

    def _replace(self) -> None:
        storage.upload(self.shards / MANIFEST, storage.join_url(self._url, MANIFEST))
        _delete_unlisted(self._url)

    def _sizes(self) -> dict[str, int]:
        return storage.sizes(self._url)


def _delete_unlisted(url: str) -> None:
    """Delete shard files on S3 that no manifest lists: of the shards before these, or of a run that failed."""
    names = storage.sizes(url)
    try:
        files = read_manifest(url).files()
    except ShardError:
        if MANIFEST in names:
            return  # it cannot be read: what it lists is not known
        files = []
    listed = {file.name for file in files}
    for name in names:
        if re.fullmatch(r"[^/]+-\d{5}-[0-9a-f]{8}\.arrow", name) and name not in listed:
            storage.delete(storage.join_url(url, name))


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the sizes in bytes of all files of a folder, by name; {} where there is no folder."""
    return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.exists() else {}
