"""How a sweep comes about: a new one from its options, or one that is resumed from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution

import pgpc
from pgpc.config import Config
from sweeps.definition.folder import SWEEP_FILE, trials_folder
from sweeps.definition.options import DEFAULT_TRIALS, DEFAULTS, SweepOptions
from sweeps.definition.space import DEFAULT_SPACE, Conditions, Space, conditions, read_space, search_space
from sweeps.definition.sweep import TABLE_ROW, Sweep, absolute, configs_of_tables


def new_sweep(options: SweepOptions) -> Sweep:
    """Return the sweep that the options describe; nothing is written yet.

    Raises:
        ValueError: The options do not describe one; the message says what to change.
    """
    changes = options.changes
    first_seed = options.seeds[0] if options.seeds else options.seed
    if first_seed is not None:
        changes["seed"] = first_seed
    config = absolute(pgpc.override(pgpc.preset(options.preset), changes))
    options = replace(options, seed=config.seed)
    folder = _new_folder(options)
    configs = configs_of_tables(options, config)
    if configs:
        space: Space = {TABLE_ROW: CategoricalDistribution(list(configs))}
        options = replace(options, trials=options.trials or DEFAULT_TRIALS)
        return Sweep(folder=folder, options=options, config=config, space=space, table_configs=configs)
    space, when = _space(options, config, changes)
    sweep = Sweep(folder=folder, options=options, config=config, space=space, when=when)
    num_trials = len(sweep.known) if options.search == "grid" else DEFAULT_TRIALS
    return replace(sweep, options=replace(options, trials=options.trials or num_trials))


def resumed_sweep(given: Mapping[str, Any]) -> Sweep:
    """Return the sweep that is to be resumed, by its name or its folder, or the newest one.

    Args:
        given: The options that the user has given this time, by the names of the fields of `SweepOptions`; "resume" is
            one of them.

    Raises:
        ValueError: There is no such sweep, its sweep.json is damaged, or a given option would make it another sweep.
    """
    sweep = found_sweep(given)
    place = {"storage": sweep.options.storage, "name": sweep.options.name}
    return replace(sweep, options=sweep.options.resumed({**given, **place}))


def found_sweep(given: Mapping[str, Any]) -> Sweep:
    """Return the sweep that the options name, as it was, or the newest one; see `resumed_sweep`.

    Raises:
        ValueError: There is no such sweep, or its sweep.json is damaged.
    """
    here = given.get("storage", DEFAULTS.storage)
    storage = Path(here).expanduser().absolute()
    name = given["resume"] or given.get("name")
    if name and given.get("name", name) != name:
        raise ValueError(f"--resume names {name!r}, but --name {given['name']!r}. Give one of them.")
    files = [storage / name / SWEEP_FILE] if name else list(storage.glob(f"*/{SWEEP_FILE}"))
    files = [file for file in files if file.is_file()]
    if not files and name and trials_folder(storage / name).is_dir():
        raise ValueError(
            f"{storage / name} has trials, but no {SWEEP_FILE}, which says what sweep they are of. Put it back, or "
            "start the sweep under another --name."
        )
    if not files:
        known = ", ".join(sorted(file.parent.name for file in storage.glob(f"*/{SWEEP_FILE}"))) or "none"
        what = repr(name) if name else "to resume"
        raise ValueError(f"There is no sweep {what} in {storage} (there: {known}). See --storage and --name.")
    sweep = Sweep.load(max(files, key=lambda f: f.stat().st_mtime).parent)
    # The folder may have been moved, or given as a path instead of a name.
    found = here if sweep.folder.parent == storage else str(sweep.folder.parent)
    return replace(sweep, options=replace(sweep.options, storage=found))


def _new_folder(options: SweepOptions) -> Path:
    """Return the folder of a new sweep, which is not there yet, or has no sweep in it."""
    name = options.name or f"{options.preset.replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(
            f"--name must be a plain name without folders, but got {name!r}. Use --storage for the folder."
        )
    folder = Path(options.storage).expanduser().absolute() / name
    if (folder / SWEEP_FILE).exists():
        raise ValueError(
            f"The sweep {name!r} exists in {folder.parent}. Resume it with --resume {name}, or choose another --name."
        )
    return folder


def _space(options: SweepOptions, config: Config, changes: Mapping[str, Any]) -> tuple[Space, Conditions]:
    """Return the default space, or the user's, without what is set, and its conditions."""
    ranges = read_space(Path(options.space)) if options.space else {}
    fixed = set(changes) | (DEFAULT_SPACE.keys() - ranges.keys() if options.space else set())
    for text in options.range:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"--range takes KEY=RANGE, for example contrast.eta=0.2:0.8, but got {text!r}.")
        if key in changes:
            raise ValueError(f"--range and --set exclude each other, but got both for {key}. Give one of them.")
        ranges[key] = values
        fixed.discard(key)
    space = search_space(config, fixed=fixed, ranges=ranges)
    return space, conditions(config, space, ranges)
