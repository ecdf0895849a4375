"""The Optuna studies of a sweep: where they are, and how they are opened."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from sweeps.common import faults
from sweeps.common.private_optuna import point_of
from sweeps.definition.objectives import direction
from sweeps.search import replicates

LOCK_PATIENCE = 60.0
"""Seconds that a sweep waits for another program that has locked its study."""


def study_file(results: Path) -> Path:
    """Return the database with a sweep's studies."""
    return results / "study.db"


def study_url(results: Path) -> str:
    """Return the address of a sweep's study, for Optuna and its tools."""
    return file_url(study_file(results))


def file_url(file: Path) -> str:
    """Return the address of a database, in which what a path may have and an address may not is quoted."""
    return sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open the database at an address, which is made where it is missing.

    Others may read it meanwhile, such as a dashboard, and lock it for as long; SQLite itself waits 5 s for them.
    """
    return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_PATIENCE}})


def study_names(results: Path) -> tuple[str, str]:
    """Return the names of a sweep's studies, that of the search and that of the reference."""
    return results.name, f"{results.name}-reference"


def begun_points(results: Path) -> list[dict[str, Any]]:
    """Return the parameters of the trials that a sweep's study has, begun or enqueued, in their order.

    Args:
        results: The folder of the sweep, which may be empty.
    """
    name, _ = study_names(results)
    if not study_file(results).is_file():
        return []
    storage = open_storage(study_url(results))
    if name not in optuna.get_all_study_names(storage):
        return []
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    return [point_of(trial) for trial in trials if replicates.is_own(trial)]


def open_studies(
    url: str,
    name: str,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    *,
    objectives: Sequence[str],
    reference: bool,
) -> tuple[optuna.Study, optuna.Study | None]:
    """Open the studies of a sweep, which are made where they are missing.

    Args:
        url: Address of the database that holds both.
        name: Name of the sweep.
        sampler: What suggests the parameters.
        pruner: What stops trials early.
        objectives: Names of the objectives, the same for both.
        reference: Whether there is a reference.

    Returns:
        The study of the search, and that of the reference, if there is one.
    """
    storage = open_storage(url)

    def create(name: str, **kwargs: Any) -> optuna.Study:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[direction(objective) for objective in objectives],
            load_if_exists=True,
            **kwargs,
        )
        study.set_metric_names(list(objectives))
        return study

    search = create(name, sampler=sampler, pruner=pruner)
    return search, create(f"{name}-reference") if reference else None


def check_study(results: Path) -> None:
    """Look at the study of a sweep that is to be resumed.

    A new study would give other parameters to the numbers of trials whose checkpoints are there, and they would resume
    from those.

    Args:
        results: The folder of the sweep.

    Raises:
        ValueError: The study is damaged, or does not know the trials that the sweep has left.
    """
    file = study_file(results)
    remedy = "Put the file back from a copy, or start the sweep anew under another --name."
    trained = sorted(d.name for d in (results / "trials").glob("*") if d.is_dir())
    known = 0
    if file.is_file():
        try:
            with contextlib.closing(sqlite3.connect(file, timeout=LOCK_PATIENCE)) as database:
                verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
                tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                if "trials" in tables:
                    known = 1 + database.execute("SELECT COALESCE(MAX(number), -1) FROM trials").fetchone()[0]
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
            raise ValueError(f"The study {file} must be a whole SQLite database, but is damaged ({verdict}). {remedy}")
    numbers = [int(name[:4]) for name in trained if name[:4].isdecimal()]
    if (trained and not known) or any(number >= known for number in numbers):
        state = "does not know them" if file.is_file() else "is missing"
        raise ValueError(
            f"The sweep in {results} has trained {', '.join(trained)}, but its study {file} {state}. {remedy}"
        )


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
    names = optuna.get_all_study_names(storage)
    of_references = {f"{name}-reference" for name in names}
    own = [name for name in names if name not in of_references]
    if len(own) != 1:
        raise ValueError(f"{file} must hold one study of a search, but has: {', '.join(own) or 'none'}.")
    return optuna.load_study(study_name=own[0], storage=storage)
