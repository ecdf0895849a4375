"""What a sweep is: its config, space and flags, in a folder of its own with a sweep.json that says so."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution

import pgpc
from pgpc.config import Config, flatten, from_dict, parse_settings, to_dict
from sweeps import flags, results
from sweeps.space import Space, search_space

PATHS = ("data.source", "data.target", "model.pretrained")
"""Config keys that name files or folders."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that determines a sweep; written to sweep.json when it starts and read back when it is resumed."""

    folder: Path
    flags: dict[str, Any]
    config: Config
    space: Space
    runs: list[dict[str, Any]]
    """Command line, time and versions of each driver."""

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
    if chosen["seed"] is not None:
        changes["seed"] = chosen["seed"]
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
    return Sweep(folder=folder, flags=chosen, config=config, space=search_space(config, fixed=changes), runs=[])


def resumed_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep that `--resume` names (by name, or by its folder), or the newest."""
    storage = Path(given.get("storage", flags.DEFAULTS["storage"])).expanduser().absolute()
    name = given["resume"] or given.get("name")
    if name and given.get("name", name) != name:
        raise ValueError(f"--resume names {name!r}, but --name {given['name']!r}. Give one of them.")
    files = [storage / name / "sweep.json"] if name else list(storage.glob("*/sweep.json"))
    files = [file for file in files if file.is_file()]
    if not files:
        known = ", ".join(sorted(file.parent.name for file in storage.glob("*/sweep.json"))) or "none"
        what = repr(name) if name else "to resume"
        raise ValueError(f"There is no sweep {what} in {storage} (there: {known}). See --storage and --name.")
    file = max(files, key=lambda f: f.stat().st_mtime)
    try:
        stored = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} must be what a sweep wrote, but it is damaged: {error}.") from None
    chosen = flags.merge(given, stored["flags"])
    # The folder may have been moved since; and what was said for one run does not hold for the next.
    here = given.get("storage", flags.DEFAULTS["storage"])
    found = here if file.parent.parent == storage else str(file.parent.parent)
    chosen.update(storage=found, name=file.parent.name, resume=None)
    chosen["time_budget"] = given.get("time_budget")
    return Sweep(
        folder=file.parent,
        flags=chosen,
        config=from_dict(stored["config"]),
        space={key: json_to_distribution(json.dumps(d)) for key, d in stored["space"].items()},
        runs=stored["runs"],
    )


def _absolute(config: Config) -> Config:
    """The config with its files named in a way that holds in the workers, whose working directory is another."""
    paths = {key: value for key, value in flatten(config).items() if key in PATHS and value}
    return pgpc.override(
        config,
        {
            key: value if value.startswith("streets:") else str(Path(value).expanduser().absolute())
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
    except OSError as error:
        raise ValueError(
            f"The results folder must be writable, but {sweep.folder} is not ({error.strerror}). "
            "Choose another --storage."
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
            "config": to_dict(sweep.config),
        },
        indent=2,
    )
    partial = sweep.file.with_suffix(".partial")
    partial.write_text(text + "\n")
    os.replace(partial, sweep.file)


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
