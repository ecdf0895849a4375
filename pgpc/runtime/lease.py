"""The right to write below an address on S3, which one process at a time has.

S3 has no locks. Who has the right writes a note there again and again; a note that does not change any more is one of a
process that was killed. No two clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgpc.runtime import storage
from pgpc.runtime.locks import FolderInUseError

log = logging.getLogger(__name__)

LEASE = ".lease"
"""Name of the note below an address."""

_BEAT = 20.0
"""Seconds from one note of a living process to its next."""
_EXPIRED = 70.0
"""Seconds without a new note after which its writer is taken for dead."""
_SETTLE = 1.0
"""Seconds that two processes that begin at the same time need to see each other's notes."""


class Lease:
    """The right to write below an address, as one process has it.

    Args:
        url: The address.
    """

    def __init__(self, url: str) -> None:
        self._url, self._object = url, storage.join_url(url, LEASE)
        self._holder, self._beat = uuid.uuid4().hex, 0
        self._lost = ""

    @property
    def holder(self) -> str:
        """A word for this process that no other has."""
        return self._holder

    def check(self) -> None:
        """Refuse to write on after another process has taken the right.

        Raises:
            FolderInUseError: Another process has the right now.
        """
        if self._lost:
            raise FolderInUseError(
                f"One process at a time may write to {self._url}, but {self._lost} has begun to while this one was not "
                "heard of for more than a minute. End one of them."
            )

    def take(self, known_dead: str) -> None:
        """Take the right; wait until it is clear that nobody has it.

        Args:
            known_dead: Holder of whom it is known that it has ended.

        Raises:
            FolderInUseError: Another process has it.
            OSError: S3 cannot be reached, or refuses.
        """
        self._await_expiry(known_dead)
        self.renew()
        time.sleep(_SETTLE)
        self._look()
        self.check()

    def renew(self) -> None:
        """Write the next note, unless somebody else has written one."""
        if self._beat:
            self._look()
        if not self._lost:
            self._beat += 1
            host = socket.gethostname()
            note = {"holder": self._holder, "host": host, "pid": os.getpid(), "beat": self._beat}
            storage.write(self._object, json.dumps(note).encode())

    def release(self) -> None:
        """Give the right back."""
        if not self._lost:
            storage.delete(self._object)

    def _await_expiry(self, known_dead: str) -> None:
        first = self._read()
        if first is None or first.get("holder") == known_dead:
            return
        log.info("Waiting up to %.0f s to see whether %s still writes to %s.", _EXPIRED, _words(first), self._url)
        deadline = time.monotonic() + _EXPIRED
        while time.monotonic() < deadline:
            time.sleep(min(1.0, _EXPIRED / 10))
            now = self._read()
            if now is None:
                return
            if now != first:
                raise FolderInUseError(
                    f"One process at a time may write to {self._url}, but {_words(now)} does. Wait for it, end it, or "
                    "choose another address."
                )

    def _look(self) -> None:
        """Take note of another process that has taken the right."""
        now = self._read()
        if now is not None and now.get("holder") != self._holder:
            self._lost = _words(now)

    def _read(self) -> dict[str, Any] | None:
        try:
            note = json.loads(storage.read(self._object))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}


@contextlib.contextmanager
def leased(url: str, memory: Path) -> Iterator[Lease]:
    """Have the right to write below an address on S3.

    Where S3 cannot be reached, a warning says that nothing keeps two processes apart.

    Args:
        url: The address.
        memory: File of this machine that notes who has had the right here last. Whoever calls holds a lock that only
            one process of this machine has, so that the one of the note has ended, and is not waited for.

    Raises:
        FolderInUseError: Another process has it.
    """
    lease, leaving = Lease(url), threading.Event()
    try:
        lease.take(memory.read_text() if memory.is_file() else "")
    except FolderInUseError:
        raise
    except OSError as error:
        log.warning("%s Nothing keeps two processes from writing to %s.", error, url)
        yield lease
        return
    memory.write_text(lease.holder)
    thread = threading.Thread(target=_keep, args=(lease, leaving), name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        leaving.set()
        thread.join()
        with contextlib.suppress(OSError):
            lease.release()
            memory.unlink(missing_ok=True)  # the right has been given back: nobody has to be known dead


def _keep(lease: Lease, leaving: threading.Event) -> None:
    while not leaving.wait(_BEAT):
        with contextlib.suppress(OSError):  # S3 may be away for a while; copies say so
            lease.renew()


def _words(note: dict[str, Any]) -> str:
    return f"process {note.get('pid', '?')} on {note.get('host', 'another machine')}"
