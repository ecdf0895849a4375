"""A database that is locked is waited for, and signals are heard meanwhile."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from pgpc.runtime import databases
from pgpc.runtime.databases import connect, patiently


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE numbers (n INTEGER)")
    return tmp_path / "a.db"


def numbers(file: Path) -> list[tuple[int]]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT n FROM numbers").fetchall()


@contextlib.contextmanager
def locked(file: Path, how: str = "BEGIN EXCLUSIVE", seconds: float = 60) -> Iterator[None]:
    """Have another connection lock the database, for so long at most."""
    with contextlib.closing(sqlite3.connect(file, check_same_thread=False)) as other:
        other.execute(how).fetchone()
        timer = threading.Timer(seconds, other.rollback)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


@pytest.mark.parametrize("how", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"])
@pytest.mark.parametrize(
    "insert",
    [
        lambda database: database.execute("INSERT INTO numbers VALUES (1)"),
        lambda database: database.executemany("INSERT INTO numbers VALUES (?)", [(1,)]),
        lambda database: database.cursor().execute("INSERT INTO numbers VALUES (1)"),
        lambda database: database.cursor().executemany("INSERT INTO numbers VALUES (?)", [(1,)]),
    ],
)
def test_who_has_locked_it_is_waited_for(
    insert: Callable[[sqlite3.Connection], object], how: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_MOMENT", 0.02)
    with contextlib.closing(connect(file, 30)) as database, locked(file, how, seconds=0.2):
        insert(database)
        database.commit()
    assert numbers(file) == [(1,)]


def test_readers_are_waited_for_at_the_end_of_a_transaction(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_MOMENT", 0.02)
    with (
        contextlib.closing(connect(file, 30)) as database,
        contextlib.closing(sqlite3.connect(file, check_same_thread=False)) as reader,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM numbers").fetchall()
        database.execute("INSERT INTO numbers VALUES (1)")
        end = threading.Timer(0.2, reader.rollback)
        end.start()
        database.commit()
        end.join()
    assert numbers(file) == [(1,)]


def test_patience_ends(file: Path) -> None:
    with contextlib.closing(connect(file, 0.2)) as database, locked(file):
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            database.execute("INSERT INTO numbers VALUES (1)")
        assert 0.2 <= time.monotonic() - began < 5
    with (
        contextlib.closing(connect(file, 60)) as database,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
    ):
        database.execute("SELECT * FROM missing")


@pytest.mark.parametrize("through", ["sqlite3", "sqlalchemy"])
def test_signals_are_heard_meanwhile(through: str, file: Path) -> None:
    """SQLite alone would wait to the end, and Python hear of Ctrl-C after that."""
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", connect_args=patiently(15))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with contextlib.closing(connect(file, 15)) as database, engine.connect() as connection, locked(file):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                if through == "sqlite3":
                    database.execute("INSERT INTO numbers VALUES (1)")
                else:
                    connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
            assert time.monotonic() - began < 10
    finally:
        signal.signal(signal.SIGALRM, before)
        engine.dispose()
