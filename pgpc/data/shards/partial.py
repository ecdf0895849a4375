"""Work on shards that are not complete yet: what survives an interruption, and who may go on with it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pgpc.runtime import storage
from pgpc.data.shards.reader import MANIFEST, ShardError, read_manifest

_JOURNAL = "journal.jsonl"


@contextlib.contextmanager
def open_partial(out: Path | str, settings: dict[str, Any]) -> Iterator[Partial]:
    """The work on one `out`, which no other process does meanwhile.

    It outlives an interruption and a loss of S3; it is deleted when the shards are published, and after an error.

    Args:
        out: where the shards will be: a resolved folder, or an address on S3.
        settings: what the work depends on; work on other settings is not gone on with.

    Raises:
        ValueError: another process is at work.
        OSError: the folder cannot be made, or S3 cannot be reached.
    """
    if storage.is_url(out):
        folder = storage.cache_folder() / f"pack-{hashlib.sha256(out.encode()).hexdigest()[:16]}.partial"
    else:
        # Beside `out`, so that the rename at the end stays on one file system.
        folder = out.with_name(f".{out.name}.partial")
    with _lock(folder, out):
        try:
            partial = Partial(out, folder, settings)
            yield partial
        except Exception as error:
            if not isinstance(error, storage.StorageError):
                if storage.is_url(out):
                    with contextlib.suppress(OSError):
                        _delete_unlisted(out)
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, out: Path | str) -> TextIO:
    """Lock a folder, which is made; closing the result, or the end of the process however it ends, lets go of it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # The process before may delete the folder while this one comes to it: then once more.
        with contextlib.suppress(FileNotFoundError):
            file = (folder / "lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise ValueError(f"Another process packs into {out}. Wait until it has ended.") from error
            if os.path.samestat(os.fstat(file.fileno()), (folder / "lock").stat()):
                return file
            file.close()


class Partial:
    """Finished shard files, and a journal of them.

    Args:
        out: where the shards will be.
        folder: where they are until then.
        settings: what the work depends on; work on other settings is not gone on with.
    """

    def __init__(self, out: Path | str, folder: Path, settings: dict[str, Any]) -> None:
        self._out, self._folder = out, folder
        self.shards = folder / "shards"
        replaced = folder / "replaced"
        if replaced.exists() and not out.exists():
            os.replace(replaced, out)  # a process was killed between the two renames of `publish`
        self.shards.mkdir(exist_ok=True)
        self.finished = self._resumable(settings)
        for path in set(self.shards.iterdir()) - {self.shards / entry["file"]["name"] for entry in self.finished}:
            path.unlink()  # begun, but not finished
        lines = [json.dumps(line) for line in (settings, *self.finished)]
        (folder / _JOURNAL).write_text("\n".join(lines) + "\n")

    def keep(self, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
        """Note a shard file as finished; on S3 it is uploaded first, and its disk space given back."""
        if storage.is_url(self._out):
            file = entry["file"]
            # The name tells the contents, so that the files that the manifest on S3 lists now stay as they are.
            file["name"] = f"{path.stem}-{file['sha256'][:8]}.arrow"
            storage.upload(path, storage.join(self._out, file["name"]))
            path.unlink()
        with (self._folder / _JOURNAL).open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
        return entry

    def publish(self, manifest: dict[str, Any]) -> None:
        """Let the shards appear at `out`, in place of those that are there."""
        with (self.shards / MANIFEST).open("w") as file:
            file.write(json.dumps(manifest, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if storage.is_url(self._out):
            storage.upload(self.shards / MANIFEST, storage.join(self._out, MANIFEST))
            _delete_unlisted(self._out)
            return
        if self._out.exists():
            os.replace(self._out, self._folder / "replaced")
        os.replace(self.shards, self._out)

    def _resumable(self, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """The journal's entries, as far as they can be gone on with."""
        try:
            # A last line without an end was being written when the process was killed.
            first, *lines = (self._folder / _JOURNAL).read_text().split("\n")[:-1]
            if json.loads(first) != settings:
                return []
            entries = [json.loads(line) for line in lines]
        except (OSError, ValueError):
            return []
        sizes = storage.sizes(self._out) if storage.is_url(self._out) else file_sizes(self.shards)
        complete = all(sizes.get(entry["file"]["name"]) == entry["file"]["size"] for entry in entries)
        return entries if complete else []


def _delete_unlisted(url: str) -> None:
    """Delete shard files on S3 that no manifest lists: of the shards before these, or of a run that failed."""
    names = storage.sizes(url)
    try:
        splits = read_manifest(url)["splits"].values()
    except ShardError:
        if MANIFEST in names:
            return  # it cannot be read: what it lists is not known
        splits = []
    listed = {file["name"] for split in splits for file in split["files"]}
    for name in names:
        if re.fullmatch(r"[^/]+-\d{5}-[0-9a-f]{8}\.arrow", name) and name not in listed:
            storage.delete(storage.join(url, name))


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files of a folder, by name; none where there is no folder."""
    return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.exists() else {}
