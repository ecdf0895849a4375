"""What a sweep is: its config, space and flags, in a folder of its own with a sweep.json that says so."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json, json_to_distribution

import pgpc
from pgpc.config import Config, flatten, from_dict, parse_settings, to_dict
from pgpc.runtime.files import write_file
from pgpc.runtime.storage import is_url
from sweeps.common.faults import probe
from sweeps.definition import options as flags
from sweeps.definition import paper_tables as tables
from sweeps.definition.space import (
    DEFAULT_SPACE,
    Conditions,
    Space,
    conditions,
    grid,
    holds,
    own_values,
    read_space,
    search_space,
    trial_config,
)
from sweeps.results import rows as results
from sweeps.search.algorithms import POPULATION

PATHS = ("data.source", "data.target", "model.pretrained")
"""Config keys that name files or folders."""
POINT = "row"
"""The one parameter in a sweep of the paper's tables: which of their configs a trial has."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that determines a sweep; written to sweep.json when it starts and read back when it is resumed."""

    folder: Path
    flags: dict[str, Any]
    config: Config
    space: Space
    runs: list[dict[str, Any]]
    """Command line, time and versions of each driver."""
    points: dict[str, Config] = field(default_factory=dict)
    """Configs of the paper's tables, by name; empty in a search."""
    when: Conditions = field(default_factory=dict)
    """Conditions of the space."""

    @property
    def seeds(self) -> list[int]:
        """That every trial is trained with."""
        return self.flags["seeds"] or [self.config.seed]

    @property
    def objectives(self) -> list[str]:
        """That every trial is judged on, keys of :data:`sweeps.definition.objectives.DIRECTIONS`."""
        return self.flags["objectives"]

    @property
    def tables(self) -> list[tables.Table]:
        """Of the paper, that are run; none in a search."""
        return _tables(self.flags)

    @property
    def configs(self) -> list[Config]:
        """That the trials have, as far as they are known before: of a search the one that it is around."""
        return list(self.points.values()) or [self.config]

    @property
    def num_trials(self) -> int:
        """Of the study."""
        return len(self.points) or self.flags["trials"]

    @property
    def compared(self) -> list[str]:
        """The config keys in which its runs differ."""
        keys = list(self.space)
        if self.points:
            configs = [flatten(config) for config in self.points.values()]
            keys = [key for key in configs[0] if any(config[key] != configs[0][key] for config in configs)]
        return [*keys, *["seed"] * (len(self.seeds) > 1 and "seed" not in keys)]

    @property
    def known(self) -> list[dict[str, Any]]:
        """Parameters of the trials that need no search, in order."""
        if self.points:
            return [{POINT: name} for name in self.points]
        own = own_values(self.config, self.space, self.when)
        if self.flags["search"] == "grid":
            every = grid(self.space, self.when)
            return sorted(every, key=lambda point: point != own)
        # Ranges of the user's need not hold the config's own values.
        return [own] if all(holds(self.space[key], value) for key, value in own.items()) else []

    def trial_config(self, params: dict[str, Any], seed: int) -> Config:
        """The config of the trial with these parameters, trained with this seed; no parameters mean the reference."""
        config = self.points[params[POINT]] if self.points else trial_config(self.config, params)
        return pgpc.override(config, {"seed": seed})

    def iterations(self, params: dict[str, Any]) -> int:
        """At which a trial with these parameters is complete, whether or not they make a valid config."""
        if self.points:
            return self.points[params[POINT]].training.iterations
        return params.get("training.iterations", self.config.training.iterations)

    def is_unfinished(self, trials: Sequence[results.Row]) -> bool:
        """Whether there is something left to train, after these trials of :func:`sweeps.results.rows.summaries`."""
        searched = [row["status"] for row in trials if row["kind"] == "search" or self.points]
        enough = self.flags["population"] is not None and searched.count("complete") >= self.flags["population"]
        return any(row["status"] == "interrupted" for row in trials) or (len(searched) < self.num_trials and not enough)

    def label_rows(self, rows: list[results.Row]) -> list[results.Row]:
        """Rows of the runs as results.parquet has them: in a sweep of tables one for each row that a run belongs to.

        Such a row has "table", "row", what the table's row changes, and kind "reference" where the contrast is off.
        """
        if not self.points:
            return rows
        changes = _changes(self.flags, self.config)
        names = {config: name for name, config in self.points.items()}
        labeled: list[results.Row] = []
        for table in self.tables:
            for row in table.rows:
                config = _absolute(tables.row_config(row, self.config, changes))
                kind = "search" if config.contrast.enabled else "reference"
                extra = {"table": table.number, "row": row.label, **row.columns}
                runs = (run for run in rows if run[POINT] == names[config])
                found = ({**run, "kind": kind, **extra} for run in runs)
                labeled += [run for run in found if run not in labeled]  # Table 5 has its rows twice
        return labeled

    @property
    def file(self) -> Path:
        """sweep.json."""
        return self.folder / "sweep.json"

    @property
    def resume_command(self) -> str:
        """What to type to go on."""
        storage = self.flags["storage"]
        extra = [] if storage == flags.DEFAULTS["storage"] else ["--storage", storage]
        return shlex.join(["python", "sweeps/run_ablation.py", "--resume", self.folder.name, *extra])


def new_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep that the flags describe."""
    chosen = flags.merge(given, None)
    changes = parse_settings(chosen["set"])
    if chosen["scheduler"] == "pbt":
        chosen["population"] = chosen["population"] or POPULATION
    first_seed = chosen["seeds"][0] if chosen["seeds"] else chosen["seed"]
    if first_seed is not None:
        changes["seed"] = first_seed
    config = _absolute(pgpc.override(pgpc.preset(chosen["preset"]), changes))
    chosen["seed"] = config.seed
    name = chosen["name"] or f"{chosen['preset'].replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(
            f"--name must be a plain name without folders, but got {name!r}. Use --storage for the folder."
        )
    folder = Path(chosen["storage"]).expanduser().absolute() / name
    if (folder / "sweep.json").exists():
        raise ValueError(
            f"The sweep {name!r} exists in {folder.parent}. Go on with --resume {name}, or choose another --name."
        )
    if chosen["table"]:
        points = _points(chosen, config)
        space = {POINT: CategoricalDistribution(list(points))}
        return Sweep(folder=folder, flags=chosen, config=config, space=space, runs=[], points=points)
    space, when = _space(chosen, config, changes)
    sweep = Sweep(folder=folder, flags=chosen, config=config, space=space, runs=[], when=when)
    if chosen["search"] == "grid" and "trials" not in given:
        chosen["trials"] = len(sweep.known)
    return sweep


def resumed_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep that `--resume` names (by name, or by its folder), or the newest."""
    storage = Path(given.get("storage", flags.DEFAULTS["storage"])).expanduser().absolute()
    name = given["resume"] or given.get("name")
    if name and given.get("name", name) != name:
        raise ValueError(f"--resume names {name!r}, but --name {given['name']!r}. Give one of them.")
    files = [storage / name / "sweep.json"] if name else list(storage.glob("*/sweep.json"))
    files = [file for file in files if file.is_file()]
    if not files and name and results.trials_folder(storage / name).is_dir():
        raise ValueError(
            f"{storage / name} has trials, but no sweep.json, which says what sweep they are of. Put it back, or start "
            "the sweep under another --name."
        )
    if not files:
        known = ", ".join(sorted(file.parent.name for file in storage.glob("*/sweep.json"))) or "none"
        what = repr(name) if name else "to resume"
        raise ValueError(f"There is no sweep {what} in {storage} (there: {known}). See --storage and --name.")
    file = max(files, key=lambda f: f.stat().st_mtime)
    try:
        stored = json.loads(file.read_text())
        before = dict(stored["flags"])
        config = from_dict(stored["config"])
        space = {key: json_to_distribution(json.dumps(d)) for key, d in stored["space"].items()}
        runs = list(stored["runs"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{file} must be what a sweep wrote, but it is damaged: {what}. Put it back, or start the sweep anew under "
            "another --name."
        ) from None
    chosen = flags.merge(given, before)
    # The folder may have been moved since; and what was said for one run does not hold for the next.
    here = given.get("storage", flags.DEFAULTS["storage"])
    found = here if file.parent.parent == storage else str(file.parent.parent)
    chosen.update(storage=found, name=file.parent.name, resume=None)
    chosen.update({key: given.get(key, flags.DEFAULTS[key]) for key in flags.OF_ONE_DRIVER if key != "resume"})
    return Sweep(
        folder=file.parent,
        flags=chosen,
        config=config,
        space=space,
        runs=runs,
        points=_points(chosen, config) if chosen["table"] else {},
        when=stored.get("when", {}),
    )


def _tables(chosen: dict[str, Any]) -> list[tables.Table]:
    return tables.select(chosen["table"] or [], chosen["bases"] or tables.BASES)


def _points(chosen: dict[str, Any], config: Config) -> dict[str, Config]:
    """The configs of the tables that were chosen.

    Raises:
        ValueError: an ablation around a config without contrast, or a row that does not go with --set.
    """
    if set(chosen["table"]) & set(tables.ABLATIONS) and not config.contrast.enabled:
        raise ValueError(
            f"Tables 6 to 12 vary the contrast, so contrast.enabled must be true, but {chosen['preset']} has False. "
            "Choose a --preset that ends in +pgpc."
        )
    points = tables.points(_tables(chosen), config, _changes(chosen, config))
    return {name: _absolute(point) for name, point in points.items()}


def _changes(chosen: dict[str, Any], config: Config) -> dict[str, Any]:
    """What every row of a table changes in its preset."""
    return {**parse_settings(chosen["set"]), "seed": config.seed}


def _space(chosen: dict[str, Any], config: Config, changes: dict[str, Any]) -> tuple[Space, Conditions]:
    """The default space, or the user's, without what is set, and its conditions."""
    ranges = read_space(Path(chosen["space"])) if chosen["space"] else {}
    fixed = set(changes) | (DEFAULT_SPACE.keys() - ranges.keys() if chosen["space"] else set())
    for text in chosen["range"]:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"--range takes KEY=RANGE, for example contrast.eta=0.2:0.8, but got {text!r}.")
        if key in changes:
            raise ValueError(f"--range and --set exclude each other, but got both for {key}. Give one of them.")
        ranges[key] = values
        fixed.discard(key)
    space = search_space(config, fixed=fixed, ranges=ranges)
    return space, conditions(config, space, ranges)


def _absolute(config: Config) -> Config:
    """The config with its files named in a way that holds in the workers, whose working directory is another."""
    paths = {key: value for key, value in flatten(config).items() if key in PATHS and value}
    return pgpc.override(
        config,
        {
            key: value if value.startswith("streets:") or is_url(value) else str(Path(value).expanduser().absolute())
            for key, value in paths.items()
        },
    )


@contextlib.contextmanager
def own_folder(sweep: Sweep) -> Iterator[None]:
    """Makes the sweep's folder and holds its lock; removes the folder again if the sweep has not started by the end.

    Raises:
        ValueError: it cannot be written, or another driver holds it.
    """
    made = not sweep.folder.exists()
    try:
        results.trials_folder(sweep.folder).mkdir(parents=True, exist_ok=True)
        lock = (sweep.folder / ".lock").open("w")
        probe(sweep.folder)
    except OSError as error:
        if made:
            shutil.rmtree(sweep.folder, ignore_errors=True)
        raise ValueError(
            f"The results folder must be writable, but {sweep.folder} is not ({error.strerror}). "
            "Make it so, free space there, or choose another --storage."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"Another process is running the sweep in {sweep.folder}. Wait for it, or end it."
            ) from None
        try:
            yield
        finally:
            if made and not sweep.file.exists():
                shutil.rmtree(sweep.folder, ignore_errors=True)


def is_running(folder: Path) -> bool:
    """Whether a driver, in whatever process, holds the lock of the sweep in `folder`."""
    try:
        with (folder / ".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none
        return False
    return False


def write_sweep(sweep: Sweep) -> None:
    """Adds this driver to sweep.json."""
    this = {
        "command": shlex.join(["python", *sys.argv]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": _versions(),
    }
    text = json.dumps(
        {
            "runs": [*sweep.runs, this],
            "seed": sweep.config.seed,
            "flags": sweep.flags,
            "space": {key: json.loads(distribution_to_json(d)) for key, d in sweep.space.items()},
            "when": sweep.when,
            "config": to_dict(sweep.config),
        },
        indent=2,
    )
    write_file(sweep.file, lambda file: file.write(f"{text}\n".encode()))


def _versions() -> dict[str, str]:
    """Of Python, the packages that matter, and the code (git revision, where there is one)."""
    found = {"python": platform.python_version()}
    for package in ("pgpc", "torch", "timm", "ray", "optuna"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
        found["revision"] = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return found
