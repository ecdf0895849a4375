"""SQLite databases that another program may have locked: they are waited for, with an ear for signals.

SQLite itself waits in one piece, during which Python hears of no Ctrl-C. Here it waits for moments, again and again.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

LOCKED = "database is locked"
"""SQLite's words where another program has locked a database."""
_MOMENT = 0.5  # seconds that SQLite waits in one piece
_PAUSE = 0.05  # seconds between two tries: where it sees a deadlock, SQLite does not wait at all
_Found = TypeVar("_Found")


def connect(file: Path, patience: float) -> sqlite3.Connection:
    """Open a database.

    Args:
        file: Its file.
        patience: Seconds that each statement waits for a program that has locked it.
    """
    connection: sqlite3.Connection = sqlite3.connect(file, **patiently(patience))
    return connection


def patiently(patience: float) -> dict[str, Any]:
    """Return the arguments for :func:`sqlite3.connect` that let each statement wait.

    Args:
        patience: Seconds that it waits for a program that has locked the database.
    """
    return {"timeout": min(_MOMENT, patience), "factory": functools.partial(_Connection, patience=patience)}


class _Connection(sqlite3.Connection):
    """A connection whose statements wait.

    Args:
        args: Of a connection.
        patience: Seconds that they wait.
        kwargs: Of a connection.
    """

    def __init__(self, *args: Any, patience: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience = patience

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """Return a cursor whose statements wait."""
        return super().cursor(_Cursor)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """Execute a statement with a cursor of its own."""
        executed: sqlite3.Cursor = self.cursor().execute(*args)
        return executed

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        """Execute a statement with several sets of values, with a cursor of its own."""
        executed: sqlite3.Cursor = self.cursor().executemany(*args)
        return executed

    def commit(self) -> None:
        """Commit what was changed. A reader is waited for, too."""
        self.wait(super().commit)

    def wait(self, act: Callable[[], _Found]) -> _Found:
        """Do something as soon as the database is not locked, and return what that gives.

        Raises:
            sqlite3.OperationalError: It stays locked, or something else is wrong.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return act()
            except sqlite3.OperationalError as error:
                if LOCKED not in str(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE)


class _Cursor(sqlite3.Cursor):
    """A cursor whose statements wait."""

    def execute(self, *args: Any) -> Any:
        """Execute a statement."""
        return self._wait(functools.partial(super().execute, *args))

    def executemany(self, *args: Any) -> Any:
        """Execute a statement with several sets of values."""
        return self._wait(functools.partial(super().executemany, *args))

    def _wait(self, act: Callable[[], _Found]) -> _Found:
        connection = self.connection
        assert isinstance(connection, _Connection), "such a connection makes such cursors"
        return connection.wait(act)
