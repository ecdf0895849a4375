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
from pgpc.config import Config, UnknownKey, flatten, from_dict, place_keys, to_dict
from pgpc.data.config import LABELED_SPLIT
from pgpc.models.config import is_weights_name
from pgpc.runtime.checks import check
from pgpc.runtime.files import expand_user, write_file
from pgpc.runtime.json_text import parse_json
from pgpc.runtime.storage import is_url
from sweeps.common.commands import sweep_command
from sweeps.common.names import METRIC
from sweeps.common.private_optuna import contains
from sweeps.common.surroundings import Surroundings
from sweeps.definition import paper_tables
from sweeps.definition.folder import SWEEP_FILE, trials_folder
from sweeps.definition.objectives import COSTS
from sweeps.definition.options import DEFAULT_TRIALS, DEFAULT_WORKERS, DEFAULTS, SweepOptions
from sweeps.definition.selection import Selection
from sweeps.definition.space import Conditions, Space, grid, own_values, trial_config

_KINDS = {dict: "an object", list: "a list"}
_PARTS = {"runs": list, "flags": dict, "space": dict, "when": dict, "config": dict, "confirms": dict}
"""The parts of a sweep.json that are read, and their types."""
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
        drivers: Command line, time, versions and surroundings of each process that has run the sweep before.
        table_configs: The configs of the paper's tables, or of the trials of a confirmation, by name; empty in a
            search.
        when: The conditions of the space.
        confirms: Label -> parameters of each trial of the search in the folder above that this sweep confirms, the base
            among them, with none; empty in any other sweep. See :mod:`sweeps.definition.confirmation`.
        notes: Sentences on values of the config that follow from others; of a new sweep only.
    """

    folder: Path
    options: SweepOptions
    config: Config
    space: Space
    drivers: tuple[Mapping[str, Any], ...] = ()
    table_configs: Mapping[str, Config] = field(default_factory=dict)
    when: Conditions = field(default_factory=dict)
    confirms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Sweep:
        """Return the sweep in `folder`, as its sweep.json says; the folder may have been moved since.

        Raises:
            ValueError: There is no sweep.json, it is damaged, or it is about keys that there are no more.
        """
        file = folder / SWEEP_FILE
        try:
            text = file.read_bytes()
        except OSError as error:
            raise ValueError(
                f"The folder of a sweep must have a {SWEEP_FILE}, but {file} cannot be read ({error.strerror})."
            ) from None
        stored: dict[str, Any] = {}
        try:
            stored = _parsed(text)
            options = SweepOptions.from_json(stored["flags"])
            config = from_dict(stored["config"])
            space = {key: json_to_distribution(json.dumps(d)) for key, d in stored["space"].items()}
            table_configs = configs_of_trials(config, stored["confirms"]) or configs_of_tables(options, config)
        except UnknownKey as error:
            raise ValueError(_of_another_version(folder, str(error), stored)) from None
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error).removesuffix(".")
            raise ValueError(
                f"{file} must be what a sweep wrote, but it is damaged: {what}. Put it back, or start the sweep anew "
                "under another --name."
            ) from None
        gone = [key for key in space if key != TABLE_ROW and key not in flatten(config)]
        if gone:
            raise ValueError(
                _of_another_version(folder, f"It searches {gone[0]}, which this version does not have.", stored)
            )
        return cls(
            folder=folder,
            options=replace(options, storage=str(folder.parent), name=folder.name),
            config=config,
            space=space,
            drivers=tuple(stored["runs"]),
            table_configs=table_configs,
            when=stored["when"],
            confirms=stored["confirms"],
        )

    def save(self, surroundings: Surroundings | None = None) -> None:
        """Write sweep.json, with this process as one more driver.

        Args:
            surroundings: What its runs depend on beside their configs; None where nothing is trained.
        """
        this = {
            "command": shlex.join(["python", *sys.argv]),
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions(),
            **({"surroundings": surroundings.to_json()} if surroundings else {}),
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
    def surroundings(self) -> tuple[Surroundings, ...]:
        """What the drivers before have found that the runs depend on; those of earlier versions have not looked."""
        return tuple(Surroundings.from_json(d["surroundings"]) for d in self.drivers if "surroundings" in d)

    @property
    def changes(self) -> tuple[str, ...]:
        """Sentences on all that has changed from one driver to the next, which every report says."""
        return tuple(sentence for found in self.surroundings for sentence in found.changes)

    @property
    def file(self) -> Path:
        """The sweep's own sweep.json."""
        return self.folder / SWEEP_FILE

    @property
    def origin(self) -> str:
        """What tells a sweep whose sweep.json is written from all others, however it is moved; "" if no driver has."""
        drivers = self.drivers or Sweep.load(self.folder).drivers
        return f"{drivers[0]['started']} {drivers[0]['command']}" if drivers else ""

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
        """The paper's tables that are run, or that of encoders; none in a search."""
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
    def trains_on_target_labels(self) -> bool:
        """Whether its runs learn from labels of the target, whatever they are chosen by."""
        return any(config.data.target_labels is not None for config in self.configs)

    @property
    def num_trials(self) -> int:
        """The number of trials in the study."""
        return len(self.table_configs) or self.options.trials or DEFAULT_TRIALS

    @property
    def num_workers(self) -> int:
        """The number of processes of a trial; before the sweep knows its cluster, the number that it wants."""
        return self.options.workers or DEFAULT_WORKERS

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
        extra += ["--address", self.options.cluster] if self.options.cluster else []
        return f"{sweep_command()} {shlex.join(['--resume', self.folder.name, *extra])}"

    @property
    def watch_command(self) -> str:
        """What to type to watch its curves."""
        return shlex.join(["tensorboard", "--logdir", str(self.trials_folder)])


def configs_of_tables(options: SweepOptions, config: Config) -> dict[str, Config]:
    """Return the configs of the paper's tables, or of encoders, that are asked for, by name; none for a search.

    Args:
        options: The sweep's options.
        config: The config that the sweep is around.

    Raises:
        ValueError: An ablation, or encoders, are around a config without contrast, or a row does not go with ``--set``.
    """
    if options.encoders:
        check(
            config.contrast.enabled and config.adaptation.enabled,
            "--encoders needs a preset with adaptation and contrast, whose rows leave out one after the other",
            options.start,
            "Choose a --preset that ends in +pgpc, and not source-only.",
        )
    elif not options.table:
        return {}
    if set(options.table or ()) & set(paper_tables.ABLATIONS) and not config.contrast.enabled:
        raise ValueError(
            f"Tables 6 to 12 vary the contrast, so contrast.enabled must be true, but {options.start} has False. "
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
        {key: value if holds_anywhere(value) else str(expand_user(value).absolute()) for key, value in paths.items()},
    )


def holds_anywhere(place: str) -> bool:
    """Return whether what a config names is not a path."""
    return place.startswith(("streets:", LABELED_SPLIT)) or is_url(place) or is_weights_name(place)


def _parsed(text: bytes) -> dict[str, Any]:
    """Return what a sweep.json holds, whose parts have the types that they are to have.

    Raises:
        ValueError: It is no JSON, or a part is of another type; the message says which.
        KeyError: A part is missing that every version has written.
    """
    stored = parse_json(text.decode())
    if not isinstance(stored, dict):
        raise ValueError(f"it must be an object, but is {stored!r:.60}")
    stored = {"when": {}, "confirms": {}, **stored}
    for key, kind in _PARTS.items():
        if not isinstance(stored[key], kind):
            raise ValueError(f"{key!r} must be {_KINDS[kind]}, but is {stored[key]!r:.60}")
    for key in ("space", "when", "confirms"):
        for name, part in stored[key].items():
            if not isinstance(part, dict):
                raise ValueError(f"{key!r} must hold objects, but {name!r} is {part!r:.60}")
    for part in (values for switches in stored["when"].values() for values in switches.values()):
        if not isinstance(part, list):
            raise ValueError(f"'when' must hold lists of values, but has {part!r:.60}")
    for run in stored["runs"]:
        is_whole = isinstance(run, dict) and all(isinstance(run.get(key), str) for key in ("command", "started"))
        if not is_whole or not isinstance(run.get("versions"), dict):
            raise ValueError(f"'runs' must hold command, time and versions of each driver, but has {run!r:.60}")
    return stored


def _of_another_version(folder: Path, unknown: str, stored: Mapping[str, Any]) -> str:
    """Return what to say about the sweep in a folder that has something unknown; its file is whole all the same."""
    versions = stored["runs"][-1]["versions"] if stored["runs"] else {}
    wrote = ", ".join(f"{name} {versions[name]}" for name in ("pgpc", "revision") if name in versions)
    return (
        f"The sweep in {folder} is of another version of this program: {unknown} Resume it with the one that wrote it"
        f"{wrote and f' ({wrote})'}, or start the sweep anew under another --name."
    )


def _tables(options: SweepOptions) -> list[paper_tables.Table]:
    if options.encoders:
        return [paper_tables.encoder_table(options.encoders)]
    return paper_tables.select(options.table or (), options.bases or paper_tables.BASES)


def _changes(options: SweepOptions, config: Config) -> dict[str, Any]:
    """Return what every row of a table changes in its preset."""
    return {**options.changes, "seed": config.seed}


def versions() -> dict[str, str]:
    """Return the versions of Python, the packages that matter, and the code (git revision, where there is one)."""
    found = {"python": platform.python_version()}
    for package in ("pgpc", "torch", "torchvision", "timm", "numpy", "pillow", "pyarrow", "ray", "optuna"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
        found["revision"] = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return found
