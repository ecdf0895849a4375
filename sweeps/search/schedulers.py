"""The schedulers, which stop trials early: how each is called, made and limited, and where it compares trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.pruners import BasePruner

from pgpc.config import Config
from sweeps.definition.options import DEFAULTS, SweepOptions, flag
from sweeps.definition.selection import Selection
from sweeps.search.verdicts.pruners import MedianRule, SuccessiveHalving
from sweeps.search.verdicts.rungs import halving_rungs, last_rung, population_rungs, warm_rungs

_OWN_OPTIONS = ("brackets", "first_rung", "reduction_factor", "population")
"""Names of the options that belong to some schedulers only."""


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """What decides which trials are stopped early.

    Attributes:
        name: What the user calls it.
        help: What it does, for the command's help.
        make_pruner: Makes Optuna's pruner for trials that are compared at rungs, by a choice.
        rungs: Gives the iterations at which trials of a config are compared.
        options: Names of the options, fields of `SweepOptions`, that belong to it and not to every scheduler.
        population: The size of its population, where the user does not say; None for one without a population.
        several_objectives: Whether trials may have several objectives.
    """

    name: str
    help: str
    make_pruner: Callable[[Sequence[int], SweepOptions, Selection], BasePruner]
    rungs: Callable[[Config, SweepOptions], list[int]]
    options: frozenset[str] = frozenset()
    population: int | None = None
    several_objectives: bool = False


def _no_pruner(rungs: Sequence[int], options: SweepOptions, selection: Selection) -> BasePruner:
    return optuna.pruners.NopPruner()


SCHEDULERS: Mapping[str, Scheduler] = {
    scheduler.name: scheduler
    for scheduler in (
        Scheduler(
            name="asha",
            help="successive halving",
            make_pruner=lambda rungs, options, selection: SuccessiveHalving(
                selection, rungs, options.reduction_factor, options.brackets
            ),
            rungs=lambda config, options: halving_rungs(config, options.first_rung, options.reduction_factor),
            options=frozenset({"brackets", "first_rung", "reduction_factor"}),
        ),
        Scheduler(
            name="median",
            help="those below the median",
            make_pruner=lambda rungs, _, selection: MedianRule(selection, rungs),
            rungs=lambda config, options: warm_rungs(config, options.first_rung),
            options=frozenset({"first_rung"}),
        ),
        Scheduler(
            name="pbt",
            help="population based training, where children of the best take the places of the worst",
            make_pruner=_no_pruner,  # see sweeps.search.population
            rungs=lambda config, _: population_rungs(config),
            options=frozenset({"population"}),
            population=4,
        ),
        Scheduler(
            name="none",
            help="no trial is stopped early, as with several objectives",
            make_pruner=_no_pruner,
            rungs=lambda config, _: [],
            several_objectives=True,
        ),
    )
}
"""Every scheduler by its name."""


def find_scheduler(name: str) -> Scheduler:
    """Return the scheduler of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"--scheduler must be one of {', '.join(SCHEDULERS)}, but got {name!r}.")
    return SCHEDULERS[name]


def owners(option: str) -> list[str]:
    """Return the names of the schedulers that an option of theirs belongs to, by the name of its field."""
    return [scheduler.name for scheduler in SCHEDULERS.values() if option in scheduler.options]


def settle_scheduler(options: SweepOptions) -> SweepOptions:
    """Return the options with what the scheduler adds where the user has left it open.

    Raises:
        ValueError: There is no such scheduler, or it does not go with other options.
    """
    scheduler = find_scheduler(options.scheduler)
    if len(options.objectives) > 1 and not scheduler.several_objectives:
        raise ValueError(
            "With several --objectives no trial is stopped early, because one that has a lower score may cost less, "
            f"so --scheduler must be none, but got {scheduler.name}. Leave it out."
        )
    for name in _OWN_OPTIONS:
        if getattr(options, name) != getattr(DEFAULTS, name) and name not in scheduler.options:
            raise ValueError(
                f"{flag(name)} belongs to --scheduler {' or '.join(owners(name))}, but got --scheduler "
                f"{scheduler.name}. Leave one of them out."
            )
    return replace(options, population=options.population or scheduler.population)


def make_pruner(options: SweepOptions, config: Config, selection: Selection) -> BasePruner:
    """Return Optuna's pruner for the scheduler that is asked for; see `rungs` for where it stops trials.

    Args:
        options: The options of the sweep.
        config: The config of the trials.
        selection: What trials are chosen by.

    Raises:
        ValueError: There is no such scheduler, or there are too few evaluations for what is asked of it.
    """
    places = rungs(options, config)
    if options.brackets > max(len(places), 1):
        raise ValueError(
            f"--brackets must be at most {len(places)}, the number of rungs before the end, but got "
            f"{options.brackets}. Give fewer, or more iterations with --set training.iterations=..., or a smaller "
            "--first-rung."
        )
    return find_scheduler(options.scheduler).make_pruner(places, options, selection)


def rungs(options: SweepOptions, config: Config) -> list[int]:
    """Return the iterations at which the scheduler that is asked for may stop a trial.

    Args:
        options: The options of the sweep.
        config: The config of the trials.

    Returns:
        Evaluations, in ascending order, all before the last one of a trial.

    Raises:
        ValueError: There is no such scheduler, or the first rung that is asked for is after the last that there can be.
    """
    scheduler, last = find_scheduler(options.scheduler), last_rung(config)
    if options.first_rung is not None and options.first_rung > last:
        raise ValueError(
            f"--first-rung must be at most {last}, the last evaluation before the end, but got {options.first_rung}. "
            "Give less, or change training.eval_interval or training.iterations with --set."
        )
    return scheduler.rungs(config, options)


def in_words(options: SweepOptions) -> str:
    """Return the scheduler of a sweep, and how it is set."""
    brackets = f" in {options.brackets} brackets" if options.brackets > 1 else ""
    population = f" with a population of {options.population}" if options.population else ""
    factor = f" by {options.reduction_factor}" * (options.reduction_factor != DEFAULTS.reduction_factor)
    return f"{options.scheduler}{factor}{brackets}{population}"
