"""What a sweep is: its options, config and space, in a folder of its own with a sweep.json that says so."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution

import pgpc
from pgpc.config import Config, flatten, from_dict, place_keys, to_dict
from pgpc.runtime.files import write_file
from pgpc.runtime.storage import is_url
from sweeps.common.commands import sweep_command
from sweeps.common.names import METRIC
from sweeps.common.private_optuna import contains
from sweeps.definition import paper_tables
from sweeps.definition.folder import SWEEP_FILE, trials_folder
from sweeps.definition.objectives import COSTS
from sweeps.definition.options import DEFAULT_TRIALS, DEFAULTS, SweepOptions
from sweeps.definition.selection import Selection
from sweeps.definition.space import Conditions, Space, grid, own_values, trial_config

TABLE_ROW = "row"
"""The one parameter in a sweep of the paper's tables: which of their configs a trial has."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that determines a sweep; written to sweep.json when it starts and read back when it is resumed.

    Attributes:
        folder: The sweep's own folder.
        options: What was asked for.
        config: The config that the sweep is around.
        space: What is searched, by dotted key of the config.
        drivers: Command line, time and versions of each process that has run the sweep before.
        table_configs: The configs of the paper's tables, or of the trials of a confirmation, by name; empty in a
            search.
        when: The conditions of the space.
        confirms: Label -> parameters of each trial of the search in the folder above that this sweep confirms, the base
            among them, with none; empty in any other sweep. See :mod:`sweeps.definition.confirmation`.
    """

    folder: Path
    options: SweepOptions
    config: Config
    space: Space
    drivers: tuple[Mapping[str, Any], ...] = ()
    table_configs: Mapping[str, Config] = field(default_factory=dict)
    when: Conditions = field(default_factory=dict)
    confirms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Sweep:
        """Return the sweep in `folder`, as its sweep.json says; the folder may have been moved since.

        Raises:
            ValueError: There is no sweep.json, it is damaged, or it is about keys that there are no more.
        """
        file = folder / SWEEP_FILE
        try:
            text = file.read_text()
        except OSError as error:
            raise ValueError(
                f"The folder of a sweep must have a {SWEEP_FILE}, but {file} cannot be read ({error.strerror})."
            ) from None
        try:
            stored = json.loads(text)
            options = SweepOptions.from_json(stored["flags"])
            config = from_dict(stored["config"])
            space = {key: json_to_distribution(json.dumps(d)) for key, d in stored["space"].items()}
            drivers, when = tuple(stored["runs"]), stored.get("when", {})
            confirms = stored.get("confirms", {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"{file} must be what a sweep wrote, but it is damaged: {what}. Put it back, or start the sweep anew "
                "under another --name."
            ) from None
        gone = [key for key in space if key != TABLE_ROW and key not in flatten(config)]
        if gone:
            raise ValueError(
                f"The sweep in {folder} searches {', '.join(gone)}, which this version does not have. Resume it "
                "with the version that its sweep.json names, or start the sweep anew under another --name."
            )
        return cls(
            folder=folder,
            options=replace(options, storage=str(folder.parent), name=folder.name),
            config=config,
            space=space,
            drivers=drivers,
            table_configs=configs_of_trials(config, confirms) or configs_of_tables(options, config),
            when=when,
            confirms=confirms,
        )

    def save(self) -> None:
        """Write sweep.json, with this process as one more driver."""
        this = {
            "command": shlex.join(["python", *sys.argv]),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": _versions(),
        }
        text = json.dumps(
            {
                "runs": [*self.drivers, this],
                "seed": self.config.seed,
                "flags": self.options.to_json(),
                "space": {key: json.loads(distribution_to_json(d)) for key, d in self.space.items()},
                "when": self.when,
                **({"confirms": self.confirms} if self.confirms else {}),
                "config": to_dict(self.config),
            },
            indent=2,
        )
        write_file(self.file, lambda file: file.write(f"{text}\n".encode()))

    @property
    def file(self) -> Path:
        """The sweep's own sweep.json."""
        return self.folder / SWEEP_FILE

    @property
    def trials_folder(self) -> Path:
        """The folder in which each run has a directory of its own."""
        return trials_folder(self.folder)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every trial is trained with."""
        return self.options.seeds or (self.config.seed,)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of what every trial is judged on: what trials are chosen by, and costs."""
        return tuple(name if name in COSTS else self.selection.text for name in self.options.objectives)

    @property
    def selection(self) -> Selection:
        """What trials are chosen by; a sweep that says nothing of it is one by mIoU."""
        return Selection.parse(self.options.select_by or METRIC)

    @property
    def tables(self) -> list[paper_tables.Table]:
        """The paper's tables that are run; none in a search."""
        return _tables(self.options)

    @property
    def is_search(self) -> bool:
        """Whether parameters are searched; else given configs are run, of the paper's tables or of a confirmation."""
        return not self.table_configs

    @property
    def report_folder(self) -> Path:
        """The folder whose report tells of the sweep; that of a confirmation is the report of what it confirms."""
        return self.folder.parent if self.confirms else self.folder

    @property
    def configs(self) -> list[Config]:
        """The configs of the trials, as far as they are known before; of a search the one that it is around."""
        return list(self.table_configs.values()) or [self.config]

    @property
    def num_trials(self) -> int:
        """The number of trials in the study."""
        return len(self.table_configs) or self.options.trials or DEFAULT_TRIALS

    @property
    def compared(self) -> tuple[str, ...]:
        """The config keys in which the runs differ."""
        keys = list(self.space)
        if not self.is_search:
            configs = [flatten(config) for config in self.table_configs.values()]
            keys = [key for key in configs[0] if any(config[key] != configs[0][key] for config in configs)]
        return (*keys, *["seed"] * (len(self.seeds) > 1 and "seed" not in keys))

    @property
    def known(self) -> list[dict[str, Any]]:
        """The parameters of the trials that need no search, in order."""
        if not self.is_search:
            return [{TABLE_ROW: name} for name in self.table_configs]
        own = own_values(self.config, self.space, self.when)
        if self.options.search == "grid":
            every = grid(self.space, self.when, own)
            return sorted(every, key=lambda params: params != own)
        # Ranges of the user's need not hold the config's own values.
        return [own] if all(contains(self.space[key], value) for key, value in own.items()) else []

    def trial_config(self, params: Mapping[str, Any], seed: int) -> Config:
        """Return the config of the trial with these parameters, trained with this seed.

        Args:
            params: Values by dotted key; none mean the reference.
            seed: The seed of the run.

        Raises:
            ValueError: The values are valid one by one, but not together.
        """
        config = trial_config(self.config, params) if self.is_search else self.table_configs[params[TABLE_ROW]]
        return pgpc.override(config, {"seed": seed})

    def iterations(self, params: Mapping[str, Any]) -> int:
        """Return at which iteration a trial with these parameters is complete, whether or not they go together."""
        if not self.is_search:
            return self.table_configs[params[TABLE_ROW]].training.iterations
        return int(params.get("training.iterations", self.config.training.iterations))

    def row_config(self, row: paper_tables.TableRow) -> Config:
        """Return the config of a row of the paper's tables, one of `table_configs`."""
        return absolute(paper_tables.row_config(row, self.config, _changes(self.options, self.config)))

    @property
    def resume_command(self) -> str:
        """What to type to resume the sweep."""
        storage = self.options.storage
        extra = [] if storage == DEFAULTS.storage else ["--storage", storage]
        return f"{sweep_command()} {shlex.join(['--resume', self.folder.name, *extra])}"


def configs_of_tables(options: SweepOptions, config: Config) -> dict[str, Config]:
    """Return the configs of the paper's tables that are asked for, by name; none for a search.

    Args:
        options: The sweep's options.
        config: The config that the sweep is around.

    Raises:
        ValueError: An ablation is around a config without contrast, or a row does not go with ``--set``.
    """
    if not options.table:
        return {}
    if set(options.table) & set(paper_tables.ABLATIONS) and not config.contrast.enabled:
        raise ValueError(
            f"Tables 6 to 12 vary the contrast, so contrast.enabled must be true, but {options.preset} has False. "
            "Choose a --preset that ends in +pgpc."
        )
    configs = paper_tables.table_configs(_tables(options), config, _changes(options, config))
    return {name: absolute(found) for name, found in configs.items()}


def configs_of_trials(config: Config, trials: Mapping[str, Mapping[str, Any]]) -> dict[str, Config]:
    """Return the configs of trials of a search by their labels.

    Args:
        config: The config that the search is around.
        trials: Label -> parameters; none are those of the base.
    """
    return {label: trial_config(config, params) for label, params in trials.items()}


def absolute(config: Config) -> Config:
    """Return the config with its files named in a way that holds in the workers, whose working directory is another."""
    paths = {key: value for key, value in flatten(config).items() if key in place_keys() and value}
    return pgpc.override(
        config,
        {
            key: value if value.startswith("streets:") or is_url(value) else str(Path(value).expanduser().absolute())
            for key, value in paths.items()
        },
    )


def _tables(options: SweepOptions) -> list[paper_tables.Table]:
    return paper_tables.select(options.table or (), options.bases or paper_tables.BASES)


def _changes(options: SweepOptions, config: Config) -> dict[str, Any]:
    """Return what every row of a table changes in its preset."""
    return {**options.changes, "seed": config.seed}


def _versions() -> dict[str, str]:
    """Return the versions of Python, the packages that matter, and the code (git revision, where there is one)."""
    found = {"python": platform.python_version()}
    for package in ("pgpc", "torch", "timm", "ray", "optuna"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
        found["revision"] = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return found
