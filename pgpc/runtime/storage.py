"""Files at s3:// addresses, and the folder on this machine that they are kept in; the one module that knows addresses.

Credentials, region and endpoint come from where AWS' own tools take them: ``AWS_ACCESS_KEY_ID`` and
``AWS_SECRET_ACCESS_KEY``, the profile in ``~/.aws`` or the machine's role; ``AWS_REGION``; ``AWS_ENDPOINT_URL`` for
stores other than Amazon's. An object appears on S3 whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeGuard, overload

import pyarrow as pa
from pyarrow import fs

from pgpc.runtime.files import write_file
from pgpc.runtime.unix import fcntl

_BLOCK_BYTES = 4 * 2**20
_CONNECT_SECONDS = 5
_ATTEMPTS = 3  # an address that nobody answers at is given up after seconds
_UPLOADED = ".uploaded.json"
_LAST = "checkpoint.pt"
_DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "INVALID_CLIENT_TOKEN_ID", "SIGNATURE_DOES_NOT_MATCH")


_CACHE_REMEDY = "Set the environment variable PGPC_CACHE to a folder that can be written."
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


class CacheError(ValueError):
    """The folder for generated and downloaded data cannot be found or written; the message says what to set."""


class StorageError(OSError):
    """S3 cannot be reached, or refuses; the same request may succeed later or with other credentials."""


def is_url(where: Path | str) -> TypeGuard[str]:
    """Return whether a place is an address on S3 rather than a path of this machine."""
    return isinstance(where, str) and where.startswith("s3://")


@overload
def join(folder: Path, name: str) -> Path: ...
@overload
def join(folder: Path | str, name: str) -> Path | str: ...
def join(folder: Path | str, name: str) -> Path | str:
    """Return the path or the address of a file of a folder, wherever that folder is."""
    return join_url(folder, name) if is_url(folder) else Path(folder) / name


def join_url(url: str, name: str) -> str:
    """Return the address of an object below another address on S3."""
    return f"{url.rstrip('/')}/{name}"


def read(url: str) -> bytes:
    """Return the contents of an object.

    Raises:
        FileNotFoundError: There is no such object or bucket.
        StorageError: S3 cannot be reached, or refuses.
    """
    with _connection(url) as (s3, path), s3.open_input_stream(path) as stream:
        contents: bytes = stream.read()
    return contents


def sizes(url: str) -> dict[str, int]:
    """Return the sizes in bytes of all objects below an address, by their names relative to it.

    Raises:
        FileNotFoundError: There is no such bucket.
        StorageError: S3 cannot be reached, or refuses.
    """
    with _connection(url) as (s3, path):
        bucket = path.partition("/")[0]
        found = s3.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
        there = bool(found) or s3.get_file_info(bucket).type != fs.FileType.NotFound
    if not there:
        raise _no_bucket(url, bucket)
    start = len(path) + 1
    return {info.path[start:]: info.size for info in found if info.type == fs.FileType.File}


def upload(file: Path, url: str) -> None:
    """Copy a file to S3, where it replaces an object of the same address.

    Raises:
        FileNotFoundError: `file` or the bucket does not exist.
        StorageError: S3 cannot be reached, or refuses.
    """
    # One write of the mapped file: an interrupt comes after it, and so never completes an object of half the bytes.
    with pa.memory_map(str(file)) as source:
        data = source.read_buffer()
        with _connection(url) as (s3, path), s3.open_output_stream(path) as stream:
            if data.size:
                stream.write(data)


def write(url: str, contents: bytes) -> None:
    """Write an object, which replaces one of the same address.

    Raises:
        FileNotFoundError: There is no such bucket.
        StorageError: S3 cannot be reached, or refuses.
    """
    with _connection(url) as (s3, path), s3.open_output_stream(path) as stream:
        stream.write(contents)


def delete(url: str) -> None:
    """Delete an object, if it exists.

    Raises:
        StorageError: S3 cannot be reached, or refuses.
    """
    with contextlib.suppress(FileNotFoundError), _connection(url) as (s3, path):
        s3.delete_file(path)


def download(url: str, file: Path, *, sha256: str | None = None) -> bool:
    """Copy an object into a file, which appears whole or not at all.

    Args:
        url: The address of the object.
        file: The path of the copy; its folder is made if need be.
        sha256: The checksum that the contents must have, in hexadecimal; None accepts any contents.

    Returns:
        False if there is no such object, otherwise True.

    Raises:
        ValueError: The contents are others than `sha256` says.
        StorageError: S3 cannot be reached, or refuses.
        OSError: The file cannot be written.
    """
    digest = hashlib.sha256()

    def copy_blocks(copy: IO[bytes]) -> None:
        for block in _blocks(url):
            digest.update(block)
            copy.write(block)
        if sha256 not in (None, digest.hexdigest()):
            raise ValueError(f"{url}: the contents changed (sha256 differs).")

    try:
        write_file(file, copy_blocks)
    except FileNotFoundError:
        return False
    return True


def cached(url: str, sha256: str, size: int) -> Path:
    """Return a copy on this machine of an object that never changes, downloaded once for all processes.

    The copy lies below ``shards`` in :func:`cache_folder`, named after its contents.

    Args:
        url: The address of the object.
        sha256: The checksum of its contents, in hexadecimal.
        size: Its size in bytes.

    Raises:
        FileNotFoundError: There is no such object.
        ValueError: The contents are others than `sha256` says, or the cache cannot be written (:class:`CacheError`).
        OSError: S3 cannot be reached, or refuses; or the disk is full.
    """
    file = cache_folder() / "shards" / f"{sha256}{Path(url).suffix}"
    if _has_size(file, size):
        return file
    with cache_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_suffix(".lock")):
            # Another process may have made it while this one waited.
            if not _has_size(file, size) and not download(url, file, sha256=sha256):
                raise FileNotFoundError(f"{url} does not exist.")
    return file


def sync_up(folder: Path, url: str) -> None:
    """Copy the files of a folder to S3 that are new or changed since the last call, its checkpoint last.

    The files that have been copied are noted in ``.uploaded.json`` in the folder. Hidden and temporary (.tmp) files are
    left out, and nothing is deleted on S3.

    Args:
        folder: The folder, with all that is in its subfolders.
        url: The address of the copy.

    Raises:
        FileNotFoundError: There is no such bucket.
        StorageError: S3 cannot be reached, or refuses.
    """
    notes = folder / _UPLOADED
    uploaded: dict[str, list[int]] = {}  # size in bytes and time of the last change in ns, by name
    with contextlib.suppress(OSError, ValueError, AttributeError):
        uploaded = json.loads(notes.read_text()).get(url, {})
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    names = [name for name in names if not name.endswith(".tmp") and not any(p[0] == "." for p in name.split("/"))]
    for name in sorted(names, key=lambda name: (name == _LAST, name)):
        try:
            state = (folder / name).stat()  # before the upload: what is appended meanwhile comes with the next call
        except FileNotFoundError:
            continue  # renamed or deleted since it was listed
        if uploaded.get(name) == [state.st_size, state.st_mtime_ns]:
            continue
        upload(folder / name, str(join(url, name)))
        uploaded[name] = [state.st_size, state.st_mtime_ns]
        _note_uploaded(notes, url, uploaded)


def _note_uploaded(notes: Path, url: str, uploaded: dict[str, list[int]]) -> None:
    text = json.dumps({url: uploaded}).encode()
    write_file(notes, lambda file: file.write(text))


def cache_folder() -> Path:
    """Return the folder in which generated and downloaded data are kept.

    It is ``$PGPC_CACHE``, else ``$XDG_CACHE_HOME/pgpc``, else ``~/.cache/pgpc``.

    Raises:
        CacheError: None of them is set, and this user, whom the machine may not know, has no home.
    """
    try:
        if named := os.environ.get("PGPC_CACHE"):
            return Path(named).expanduser()
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "pgpc"
    except RuntimeError as error:
        raise CacheError(
            f"Generated and downloaded data are kept below the home of user {os.getuid()}, who has none ({error}). "
            f"{_CACHE_REMEDY}"
        ) from error


@contextlib.contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Raise errors of writing a folder of the cache with advice.

    Args:
        folder: The folder that is written.

    Raises:
        CacheError: The folder cannot be written.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        # A folder that may not be made, or whose parent is a file: a home that is none.
        if error.errno not in _UNWRITABLE:
            raise
        raise CacheError(
            f"Generated and downloaded data are kept in {folder}, which cannot be written: {error}. {_CACHE_REMEDY}"
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which the operating system releases when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _blocks(url: str) -> Iterator[bytes]:
    with _connection(url) as (s3, path), s3.open_input_stream(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


@contextlib.contextmanager
def _connection(url: str) -> Iterator[tuple[fs.S3FileSystem, str]]:
    """Yield a connection to S3 and the path of an address there; errors within are raised in terms of the address."""
    path = url.removeprefix("s3://").rstrip("/")
    bucket = path.partition("/")[0]
    if not bucket:
        raise ValueError(f"An address on S3 must be s3://BUCKET/NAME, but got {url!r}.")
    # pyarrow itself reads neither variable when it is not given an address with the endpoint in it.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None and endpoint is None:
            region = fs.resolve_s3_region(bucket)
        s3 = fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=_CONNECT_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            background_writes=False,  # they copy what they write
        )
        yield s3, path
    except StorageError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{url} does not exist.") from error
    except OSError as error:
        if error.errno is not None and "AWS Error" not in str(error):
            raise  # of a local file
        raise _explained(url, bucket, endpoint, str(error)) from error


def _explained(url: str, bucket: str, endpoint: str | None, text: str) -> OSError:
    found = re.search(r"AWS Error (\w+)(?: \(.*?\))? during \w+ operation: (.*)", text, re.DOTALL)
    kind, reason = found.groups() if found else ("", text)
    if kind == "NO_SUCH_BUCKET":
        return _no_bucket(url, bucket)
    if kind in _DENIED:
        return StorageError(
            f"{url}: access denied. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to credentials "
            f"that may use bucket {bucket!r}."
        )
    if kind == "NETWORK_CONNECTION":
        reason = reason.rpartition("Details: ")[2]
        where = endpoint or "Amazon S3; for another store set AWS_ENDPOINT_URL"
        return StorageError(f"{url} cannot be reached at {where}: {reason.strip()}.")
    return StorageError(f"{url}: S3 answers {kind} {re.sub(r' *[(]Request ID: .*', '', reason)}".strip())


def _no_bucket(url: str, bucket: str) -> FileNotFoundError:
    return FileNotFoundError(f"{url} does not exist: there is no bucket {bucket!r}. Create it, or name another.")
