"""The Optuna studies of a sweep: where they are, and how they are opened."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from pgpc.runtime.databases import connect, patiently
from sweeps.common import faults
from sweeps.common.private_optuna import point_of
from sweeps.definition.objectives import direction
from sweeps.search import replicates

LOCK_PATIENCE = 60.0
"""Seconds that a sweep waits for another program that has locked its study."""
_REFERENCE = "-reference"
_REMEDY = "Put the file back from a copy, or start the sweep anew under another --name."
_ORIGIN = "sweep"
"""User attribute of a study: which sweep has made it, see :attr:`sweeps.definition.sweep.Sweep.origin`."""


def study_file(results: Path) -> Path:
    """Return the database with the study of a sweep's search."""
    return results / "study.db"


def reference_file(results: Path) -> Path:
    """Return the database with the study of a sweep's reference.

    It is a file of its own, so that Optuna and its tools open the study of the search without its name. Sweeps of
    earlier versions have both studies in one file, and keep them there.
    """
    return study_file(results) if _holds_reference(_names(study_file(results))) else results / "reference.db"


def study_url(results: Path) -> str:
    """Return the address of the study of a sweep's search, for Optuna and its tools."""
    return file_url(study_file(results))


def file_url(file: Path) -> str:
    """Return the address of a database, in which what a path may have and an address may not is quoted."""
    return sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open the database at an address, which is made where it is missing.

    Others may read it meanwhile, such as a dashboard, and lock it for as long.
    """
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": patiently(LOCK_PATIENCE)})


def study_names(results: Path) -> tuple[str, str]:
    """Return the names of a sweep's studies, that of the search and that of the reference.

    They are those of the sweep's folder, unless that has been renamed since they were made.

    Args:
        results: The folder of the sweep, which may be empty.

    Raises:
        ValueError: The database has several searches, and none of the folder's name.
    """
    own = _names_of_searches(results)
    if len(own) > 1 and results.name not in own:
        raise _not_one_search(results, own)
    name = own[0] if len(own) == 1 else results.name
    return name, f"{name}{_REFERENCE}"


def _names_of_searches(results: Path) -> list[str]:
    """Return the names of the studies in the database of a sweep that are no references, in their order."""
    names = _names(study_file(results))
    of_references = {f"{name}{_REFERENCE}" for name in names}
    return [name for name in names if name not in of_references]


def _holds_reference(names: Sequence[str]) -> bool:
    return any(f"{name}{_REFERENCE}" in names for name in names)


def _names(file: Path) -> list[str]:
    """Return the names of the studies in a database, in their order; none where there is no file."""
    if not file.is_file():
        return []
    with contextlib.closing(connect(file, LOCK_PATIENCE)) as database:
        return _column(database, "studies", "study_name")


def _not_one_search(results: Path, names: Sequence[str]) -> ValueError:
    return ValueError(f"{study_file(results)} must hold one study of a search, but has: {', '.join(names) or 'none'}.")


def begun_points(results: Path) -> list[dict[str, Any]]:
    """Return the parameters of the trials that a sweep's study has, begun or enqueued, in their order.

    Args:
        results: The folder of the sweep, which may be empty.
    """
    study, _ = find_studies(results)
    trials = study.get_trials(deepcopy=False) if study else ()
    return [point_of(trial) for trial in trials if replicates.is_own(trial)]


def find_studies(results: Path) -> tuple[optuna.Study | None, optuna.Study | None]:
    """Return the study of the search and that of the reference, where they exist.

    Args:
        results: The folder of the sweep, which may be empty, or have been renamed since the studies got their names.

    Raises:
        ValueError: The database has several searches, and none of the folder's name.
    """
    name, of_reference = study_names(results)
    return _find(study_file(results), name), _find(reference_file(results), of_reference)


def _find(file: Path, name: str) -> optuna.Study | None:
    return optuna.load_study(study_name=name, storage=open_storage(file_url(file))) if name in _names(file) else None


def open_studies(
    results: Path,
    name: str,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    *,
    objectives: Sequence[str],
    reference: bool,
    origin: str,
) -> tuple[optuna.Study, optuna.Study | None]:
    """Open the studies of a sweep, which are made where they are missing.

    Args:
        results: The folder of the sweep.
        name: Name of the sweep.
        sampler: What suggests the parameters.
        pruner: What stops trials early.
        objectives: Names of the objectives, the same for both.
        reference: Whether there is a reference.
        origin: What tells the sweep from others; see `check_study`.

    Returns:
        The study of the search, and that of the reference, if there is one.
    """

    def create(file: Path, name: str, **kwargs: Any) -> optuna.Study:
        study = optuna.create_study(
            storage=open_storage(file_url(file)),
            study_name=name,
            directions=[direction(objective) for objective in objectives],
            load_if_exists=True,
            **kwargs,
        )
        study.set_metric_names(list(objectives))
        if _ORIGIN not in study.user_attrs:
            study.set_user_attr(_ORIGIN, origin)
        return study

    search = create(study_file(results), name, sampler=sampler, pruner=pruner)
    return search, create(reference_file(results), f"{name}{_REFERENCE}") if reference else None


def check_study(results: Path, origin: str) -> None:
    """Look at the study of a sweep that is to be resumed.

    A new study would give other parameters to the numbers of trials whose checkpoints are there, and they would resume
    from those.

    Args:
        results: The folder of the sweep.
        origin: What tells the sweep from others; "" where that is not known.

    Raises:
        ValueError: The study is damaged, is that of another sweep, or does not know the trials that the sweep has left.
    """
    file = study_file(results)
    known = _look_at(file, origin)
    if reference_file(results) != file:
        _look_at(reference_file(results), origin)
    trained = sorted(d.name for d in (results / "trials").glob("*") if d.is_dir())
    numbers = [int(name[:4]) for name in trained if name[:4].isdecimal()]
    if (trained and not file.is_file()) or any(number >= known for number in numbers):
        state = "does not know them" if file.is_file() else "is missing"
        raise ValueError(
            f"The sweep in {results} has trained {', '.join(trained)}, but its study {file} {state}. {_REMEDY}"
        )


def _look_at(file: Path, origin: str) -> int:
    """Return how many trials the study with the most of them in a database has; 0 where there is no file.

    Raises:
        ValueError: The database is damaged, in use, or that of another sweep; see `check_study`.
    """
    if not file.is_file():
        return 0
    num_trials, makers = 0, list[str]()
    try:
        with contextlib.closing(connect(file, LOCK_PATIENCE)) as database:
            verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            num_trials = 1 + max(_column(database, "trials", "number"), default=-1)
            makers = _column(database, "study_user_attributes", "value_json", f"key = '{_ORIGIN}'")
    except sqlite3.OperationalError as error:  # it can be neither read nor repaired here and now
        if faults.is_locked(str(error)):
            raise ValueError(
                f"The study {file} must be free, but another program has locked it for more than "
                f"{LOCK_PATIENCE:.0f} s, such as a dashboard, a backup or an editor of databases. End that program."
            ) from None
        raise ValueError(f"The study {file} must be readable and writable, but is not ({error}).") from None
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        raise ValueError(f"The study {file} must be a whole SQLite database, but is damaged ({verdict}). {_REMEDY}")
    if origin and any(maker != json.dumps(origin) for maker in makers):
        raise ValueError(f"The study {file} must be that of this sweep, but another sweep has made it. {_REMEDY}")
    return num_trials


def _column(database: sqlite3.Connection, table: str, column: str, condition: str = "TRUE") -> list[Any]:
    """Return the values of a column in the rows that meet a condition; none where the table is not there yet."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if table not in tables:
        return []
    return [value for (value,) in database.execute(f"SELECT {column} FROM {table} WHERE {condition}")]


def load_study(results: Path) -> optuna.Study:
    """Return the study of the search in the folder of a sweep, which may be running.

    Args:
        results: The folder of the sweep; it may have been renamed since the study got its name.

    Raises:
        ValueError: There is none.
    """
    file = study_file(results)
    if not file.is_file():  # Optuna would make one
        raise ValueError(f"A sweep keeps its Optuna study in {file.name}, but {results} has none. Put it back.")
    storage = open_storage(study_url(results))
    own = _names_of_searches(results)
    if len(own) != 1:
        raise _not_one_search(results, own)
    return optuna.load_study(study_name=own[0], storage=storage)
