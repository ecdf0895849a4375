"""How a sweep comes about: a new one from its options, or one that is resumed from its folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution

from pgpc.config import Config
from pgpc.evaluation.names import CRITERIA_PREFIX
from pgpc.recipes.recipe import Recipe, compose
from pgpc.runtime.checks import check
from pgpc.runtime.files import expand_user
from sweeps.common.names import METRIC
from sweeps.definition import paper_tables
from sweeps.definition.folder import SWEEP_FILE, TRUNKS, check_new, trials_folder
from sweeps.definition.options import DEFAULT_TRIALS, DEFAULTS, SweepOptions, check_value
from sweeps.definition.paper_tables import BASES
from sweeps.definition.selection import DEFAULT_SELECTION, Selection
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
    recipe = _recipe(options, changes)
    config = absolute(recipe.config)
    options = replace(options, seed=config.seed, select_by=_settled_selection(options.select_by, config))
    folder = _new_folder(options)
    configs = configs_of_tables(options, config)
    timed = paper_tables.INFERENCE in {table.metric for table in paper_tables.select(options.table or (), BASES)}
    check(
        not timed or config.data.eval_split is not None,
        "data.eval_split must name a labeled split for the table of speeds, which are those of segmenting it",
        None,
        "Name one with --set data.eval_split=NAME, or leave the table out.",
    )
    if configs:
        space: Space = {TABLE_ROW: CategoricalDistribution(list(configs))}
        options = replace(options, trials=options.trials or DEFAULT_TRIALS)
        return Sweep(
            folder=folder, options=options, config=config, space=space, table_configs=configs, notes=recipe.notes
        )
    space, when = _space(options, config, changes)
    sweep = Sweep(folder=folder, options=options, config=config, space=space, when=when, notes=recipe.notes)
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
    for option in ("storage", "name"):
        if given.get(option) is not None:
            check_value(option, given[option])
    here = given.get("storage", DEFAULTS.storage)
    storage = expand_user(here).absolute()
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
    start = options.preset.replace("/", "-") if options.config is None else Path(options.config).stem
    name = options.name or f"{start}-{datetime.now():%Y%m%d-%H%M%S}"
    if Path(name).name != name or name in ("", ".", "..") or name.startswith("-") or not name.isprintable():
        raise ValueError(
            "--name must be a plain name without folders, which does not begin with a dash, but got "
            f"{name!r}. Use --storage for the folder."
        )
    check(name != TRUNKS, "--name must not be that of the folder in which sweeps share their trunks", name)
    folder = expand_user(options.storage).absolute() / name
    if (folder / SWEEP_FILE).exists():
        raise ValueError(
            f"The sweep {name!r} exists in {folder.parent}. Resume it with --resume {shlex.quote(name)}, or choose "
            "another --name."
        )
    check_new(folder)
    return folder


def _recipe(options: SweepOptions, changes: Mapping[str, Any]) -> Recipe:
    """Return the config that the sweep is around, and what to say about it."""
    if options.config is None:
        return compose(options.preset, None, changes)
    named = set(options.table or ()) & set(paper_tables.TABLES_OF_BASES)
    check(
        not named,
        "--config must be left out for the tables that compare bases, whose rows take numbers of their own",
        options.config,
        "Give --preset TASK/BASE, and --set for what is to be the same in all rows.",
    )
    return compose(None if options.preset == DEFAULTS.preset else options.preset, options.config, changes)


def _settled_selection(asked: str | None, config: Config) -> str:
    """Return what trials are chosen by, which is mIoU where there are labels to compute it from.

    Args:
        asked: What the user asks for; None where that is left open.
        config: The config that the sweep is around.

    Raises:
        ValueError: The trainings cannot report what it is made of.
    """
    labeled = config.data.eval_split is not None
    selection = Selection.parse(asked or (METRIC if labeled else DEFAULT_SELECTION))
    check(
        labeled or not selection.needs_labels,
        "--select-by must need no labels of the target where data.eval_split is none",
        selection.text,
        f"Leave {METRIC} out, or name a labeled split with --set data.eval_split=NAME.",
    )
    criteria = [name for name in selection.metrics if name != METRIC]
    check(
        not criteria or config.evaluation.criteria_images > 0,
        f"evaluation.criteria_images must be at least 1 with --select-by {selection.text}",
        config.evaluation.criteria_images,
        "Set it with --set evaluation.criteria_images=N.",
    )
    check(
        f"{CRITERIA_PREFIX}source_mIoU" not in criteria or config.data.holdout > 0,
        f"data.holdout must be at least 1 with --select-by {selection.text}: labeled source images that are left out "
        "of the training",
        config.data.holdout,
        "Set it with --set data.holdout=N.",
    )
    check(
        f"{CRITERIA_PREFIX}teacher_agreement" not in criteria or config.adaptation.enabled,
        f"adaptation.enabled must be true with --select-by {selection.text}, since there is no teacher otherwise",
        config.adaptation.enabled,
        "Leave teacher_agreement out.",
    )
    return selection.text


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
