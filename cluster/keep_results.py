"""On the head: keeps the results in a bucket: ``keep_results.py save|restore FOLDER s3://BUCKET/NAME``.

Some files are valid only together, and an object of S3 appears by itself. Whatever interrupts a copy, up or down, what
is complete can be told from what is not:

- a run's checkpoints, by the list that Train keeps of them. Those that it names go up before it does, and the others
  are deleted after it, so that a bucket holds one checkpoint per run and not one per evaluation;
- a trunk in ``warmups``, and the folder ``best`` of a sweep, by a file that goes up last;
- the trials of a sweep, by its study, which goes up before them: it may know of trials without a folder, but a folder
  of a trial that it does not know could not be resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pgpc.runtime import storage
from pgpc.runtime.json_text import parse_json

STUDIES = {"study.db": "study.saved.db", "reference.db": "reference.saved.db"}
"""Names of the databases of the studies in the folder of a sweep, each with that of its backup, which is what a new
cluster begins with; what is copied of a live database is of no use."""
SWEEP = "sweep.json"
"""Name of the file that says what a sweep is."""
LIST = "checkpoint_manager_snapshot.json"
"""Name of Train's list of the checkpoints of a run."""
CHECKPOINT = "checkpoint.pt"
"""Name of the file in the folder of each of them."""
CONFIG = "config.json"
"""Name of the file that every run writes when it starts."""
TRUNKS, TRUNK_SEAL = "warmups", "trained_by.json"
"""Name of the folder of trunks, and of the file that says that one is complete."""
BEST, BEST_SEAL = "best", "README.md"
"""The same of the best trial of a sweep."""
_NOTES = ".uploaded.json"
_ATTEMPTS = 3  # to read a list whose checkpoints are still there, while the run goes on


def save(folder: Path, url: str) -> None:
    """Copy what is new or changed to S3, also while sweeps run, and delete there what runs do not need any more.

    Args:
        folder: The folder of the results.
        url: The address on S3.
    """
    copy = _Copy(folder, url)
    names = _names(folder)  # before the studies, which then know all trials that are copied
    waiting = tuple(_back_up_studies(folder))
    names = [name for name in names if not name.startswith(waiting)]
    saved = (file for name in STUDIES.values() for file in folder.rglob(name))
    names = sorted({*names, *(_relative(folder, file) for file in saved)})
    try:
        runs = sorted(_runs(names))
        apart = [*(f"{run}/{LIST}" for run in runs), *(f"{run}/checkpoint_" for run in runs)]
        whole = _whole(names)
        apart += [f"{group}/" for group in whole]
        copy.up(sorted((n for n in names if not n.startswith(tuple(apart))), key=_order))
        for group, seal in whole.items():
            copy.up_whole(group, seal)
        for run in runs:
            copy.up_checkpoints(run)
        copy.drop_trained_trunks()
    finally:
        copy.note()


def restore(folder: Path, url: str) -> None:
    """Copy from S3 what the folder lacks, and is complete there; files that exist stay as they are.

    Args:
        folder: The folder of the results.
        url: The address on S3.
    """
    copy = _Copy(folder, url)
    try:
        whole = _whole(copy.there, complete=False)
        runs = _runs(copy.there)
        apart = tuple([*(f"{group}/" for group in whole), *(f"{run}/" for run in runs)])
        for name in sorted((n for n in copy.there if not n.startswith(apart)), key=_order):
            copy.down(name)
        for group, seal in whole.items():
            copy.down_whole(group, seal)
        for run in sorted(runs):
            copy.down_run(run)
    finally:
        copy.note()


class _Copy:
    """A folder and its copy on S3.

    Args:
        folder: The folder.
        url: The address of the copy.

    Attributes:
        there: Names of the objects of the copy, relative to its address.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self.there = {name for name in storage.sizes(url) if not _is_passing(name)}
        self._known: dict[str, list[int]] = {}  # size in bytes and time of the last change in ns, when it was copied
        with contextlib.suppress(OSError, ValueError):
            self._known = parse_json((folder / _NOTES).read_text()).get(url, {})

    def note(self) -> None:
        """Keep for the next time what has been copied."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{_NOTES}.tmp"
        temporary.write_text(json.dumps({self._url: self._known}))
        os.replace(temporary, self._folder / _NOTES)

    def up(self, names: Iterable[str]) -> bool:
        """Copy those files to S3 that are new or changed; return whether all of them were still there."""
        found = True
        for name in names:
            try:
                state = _state(self._folder / name)  # before it is read: what is appended comes with the next call
                if name not in self.there or self._known.get(name) != state:
                    storage.upload(self._folder / name, self._at(name))
            except FileNotFoundError:
                found = False
                continue
            self._known[name] = state
            self.there.add(name)
        return found

    def up_whole(self, group: str, seal: str) -> None:
        """Copy a folder to S3 that is valid only as a whole; the file that says so is there only while it is."""
        where = self._folder / group
        names = [_relative(self._folder, file) for file in where.rglob("*") if file.is_file()]
        changed = [n for n in names if n not in self.there or self._known.get(n) != _state_or_none(self._folder / n)]
        if not changed:
            return
        before = _identity(where)
        self._drop([f"{group}/{seal}"])
        if self.up([n for n in names if n != f"{group}/{seal}"]) and before == _identity(where):
            self._drop(sorted(name for name in self.there if name.startswith(f"{group}/") and name not in names))
            self.up([f"{group}/{seal}"])

    def up_checkpoints(self, run: str) -> None:
        """Copy to S3 the checkpoints that a run's list names, then the list; then delete there all others."""
        where = self._folder / run
        for attempt in range(_ATTEMPTS):  # while they are read, the run may replace both
            state, text = _state_or_none(where / LIST), _bytes_or_none(where / LIST)
            kept = checkpoints_in(text)
            if kept is None:
                return  # it is just being written; the next call copies it
            complete = {file.parent.name for file in where.glob(f"checkpoint_*/{CHECKPOINT}")}
            if attempt == _ATTEMPTS - 1 and not kept <= complete:
                kept = complete  # it does name one that is not there, and the others are what there is
            files = [_relative(self._folder, f) for name in kept for f in (where / name).rglob("*") if f.is_file()]
            if kept <= complete and self.up(sorted(files)):
                break
        else:
            return
        self._put_list(f"{run}/{LIST}", text if kept else None, state)
        self._drop(sorted(name for name in self.there if _checkpoint_of(name, run) not in {None, *kept}))

    def _put_list(self, name: str, text: bytes | None, state: list[int] | None) -> None:
        """Make a list on S3 what was read of it, and not what it has become since; None is no list."""
        if text is None or state is None:
            self._drop([name])
        elif name not in self.there or self._known.get(name) != state:
            read = self._folder / f"{_NOTES}.list"
            read.write_bytes(text)
            storage.upload(read, self._at(name))
            read.unlink()
            self._known[name] = state
            self.there.add(name)

    def drop_trained_trunks(self) -> None:
        """Delete on S3 what is left of trunks that are complete by now."""
        trained = {f"{folder}-partial/" for folder in _whole(self.there) if folder.startswith("warmups/")}
        gone = tuple(part for part in trained if not (self._folder / part).exists())
        self._drop(sorted(name for name in self.there if gone and name.startswith(gone)))

    def down(self, name: str, *, to: str | None = None) -> None:
        """Copy a file from S3, unless there is one."""
        path = PurePosixPath(name)
        if path.name in STUDIES and str(path.with_name(STUDIES[path.name])) in self.there:
            return
        live = {saved: study for study, saved in STUDIES.items()}
        target = to or str(path.with_name(live.get(path.name, path.name)))
        if not (self._folder / target).exists() and storage.download(self._at(name), self._folder / target):
            self._known[name] = _state(self._folder / target)

    def down_whole(self, group: str, seal: str) -> None:
        """Copy a folder from S3 that is valid only as a whole, unless there is one, or it is not complete."""
        names = sorted(name for name in self.there if name.startswith(f"{group}/"))
        if f"{group}/{seal}" not in names:
            print(f"{group} is not complete in the bucket, and left out.")
        elif not (self._folder / group).exists():
            new = f"{group}.restored"
            shutil.rmtree(self._folder / new, ignore_errors=True)
            for name in names:
                self.down(name, to=f"{new}{name.removeprefix(group)}")
            os.replace(self._folder / new, self._folder / group)

    def down_run(self, run: str) -> None:
        """Copy the directory of a run from S3, unless it is in use here; of its checkpoints what can be resumed from.

        Its config comes last, and says that the rest is there.
        """
        if (self._folder / run / CONFIG).exists():
            return
        every = sorted(name for name in self.there if name.startswith(f"{run}/"))
        known = checkpoints_in(storage.read(self._at(f"{run}/{LIST}"))) if f"{run}/{LIST}" in every else set()
        complete = {name.split("/")[-2] for name in every if name.endswith(f"/{CHECKPOINT}")}
        kept = known or set()
        if known is None or not kept <= complete:
            kept = {max(complete)} if complete else set()
            print(f"{run}: its list names checkpoints that are not there; taken: {', '.join(kept) or 'none'}.")
        wanted = [name for name in every if _checkpoint_of(name, run) in {None, *kept}]
        wanted = [name for name in wanted if kept or name != f"{run}/{LIST}"]
        for name in sorted(wanted, key=lambda name: (name == f"{run}/{CONFIG}", name == f"{run}/{LIST}", name)):
            self.down(name)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.there:
                storage.delete(self._at(name))
                self.there.discard(name)
            self._known.pop(name, None)

    def _at(self, name: str) -> str:
        return storage.join_url(self._url, name)


def checkpoints_in(text: bytes | None) -> set[str] | None:
    """Return the names of the checkpoints that a list of Train's names; None where it is torn; none without a list."""
    if text is None:
        return set()
    try:
        stored = parse_json(text)
        found = {str(result["checkpoint_dir_name"]) for result in stored["checkpoint_results"]}
        return found | {str(stored["latest_checkpoint_result"]["checkpoint_dir_name"])}
    except (ValueError, KeyError, TypeError):
        return None


def _names(folder: Path) -> list[str]:
    """Return the names of the files in a folder that are copied, relative to it."""
    names = [_relative(folder, file) for file in folder.rglob("*") if file.is_file()]
    return [n for n in names if not _is_passing(n) and not PurePosixPath(n).name.startswith(tuple(STUDIES))]


def _is_passing(name: str) -> bool:
    """Return whether a file is hidden or temporary."""
    return name.endswith(".tmp") or any(part.startswith(".") for part in name.split("/"))


def _runs(names: Iterable[str]) -> set[str]:
    """Return the directories of runs that files lie in, those of trunks that are being trained among them."""
    found = set()
    for name in names:
        *folders, _ = name.split("/")
        depth = folders.index("trials") + 2 if "trials" in folders else 2
        of_trunk = folders[:1] == [TRUNKS] and folders[1:2] and folders[1].endswith("-partial")
        if len(folders) >= depth and ("trials" in folders or of_trunk):
            found.add("/".join(folders[:depth]))
    return found


def _checkpoint_of(name: str, run: str) -> str | None:
    """Return the name of the checkpoint of a run that a file belongs to, if it does."""
    folder, inside, _ = name.removeprefix(f"{run}/").partition("/")
    return folder if name.startswith(f"{run}/checkpoint_") and inside else None


def _whole(names: Iterable[str], *, complete: bool = True) -> dict[str, str]:
    """Return the folders that are valid only as a whole, each with the name of the file that says that it is complete.

    Args:
        names: Names of files.
        complete: Whether only those are wanted that have this file.
    """
    every = set(names)
    found = {}
    for name in every:
        folder = str(PurePosixPath(name).parent)
        if folder.endswith(f"/{BEST}"):
            found[folder] = BEST_SEAL
        elif folder.startswith(f"{TRUNKS}/") and folder.count("/") == 1 and not folder.endswith(("-partial", "-new")):
            found[folder] = TRUNK_SEAL
    return {folder: seal for folder, seal in sorted(found.items()) if not complete or f"{folder}/{seal}" in every}


def _order(name: str) -> tuple[int, str]:
    """Return where a file comes among those that are copied: a sweep, its study, and all that is theirs."""
    first = {SWEEP: 0} | dict.fromkeys([*STUDIES, *STUDIES.values()], 1)
    return first.get(PurePosixPath(name).name, 2), name


def _back_up_studies(folder: Path) -> list[str]:
    """Write beside each study that has changed a copy of it that is whole.

    Returns:
        What the names of the files begin with that must wait until the study of their sweep can be read, which comes
        before them. Those of other sweeps do not wait for it.
    """
    waiting = []
    for study in (found for name in STUDIES for found in folder.rglob(name)):
        saved = STUDIES[study.name]
        backup = study.with_name(saved)
        if backup.exists() and backup.stat().st_mtime_ns >= study.stat().st_mtime_ns:
            continue
        temporary = study.with_name(f"{saved}.tmp")
        for left in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            left.unlink(missing_ok=True)  # of a process that was killed; a torn one could not be copied into
        try:
            with (
                contextlib.closing(sqlite3.connect(study)) as live,
                contextlib.closing(sqlite3.connect(temporary)) as copy,
            ):
                live.backup(copy)
        except sqlite3.Error as error:
            waiting.append(_relative(folder, study).removesuffix(study.name))
            print(f"{study} cannot be read ({error}): {study.parent.name} is not copied, the other sweeps are.")
            continue
        os.replace(temporary, backup)
    return waiting


def _relative(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _state(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _state_or_none(file: Path) -> list[int] | None:
    return _state(file) if file.is_file() else None


def _bytes_or_none(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _identity(folder: Path) -> int | None:
    """Return what tells a folder from another one that has taken its place."""
    return folder.stat().st_ino if folder.exists() else None


def main() -> None:
    """Do what the command line says."""
    what, where, address = sys.argv[1:]
    {"save": save, "restore": restore}[what](Path(where), address)


if __name__ == "__main__":
    main()
