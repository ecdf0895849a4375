"""The schedulers, which stop trials early: how each is called, made and limited, and where it compares trials."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace

import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from pgpc.config import Config
from sweeps.definition.options import SweepOptions


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """What decides which trials are stopped early.

    Attributes:
        name: What the user calls it.
        help: What it does, for the command's help.
        make_pruner: Makes Optuna's pruner for trials of a config, with a number of brackets.
        rungs: Gives the iterations at which, or at the first evaluation after which, trials of a config may be stopped.
        has_brackets: Whether there can be more than one bracket.
        population: The size of its population, where the user does not say; None for one without a population.
        several_objectives: Whether trials may have several objectives.
    """

    name: str
    help: str
    make_pruner: Callable[[Config, int], BasePruner]
    rungs: Callable[[Config], list[int]]
    has_brackets: bool = False
    population: int | None = None
    several_objectives: bool = False


class Brackets(BasePruner):
    """Asynchronous successive halving in brackets, of which each has its first rung one later than the one before.

    A trial competes within its bracket only, so that those of later brackets have more time to show what they are good
    for; see Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020. Trials take turns: the
    bracket follows from the trial's number, and is the same for every driver.

    Args:
        first_rung: First rung of the first bracket, in iterations.
        num: Number of brackets.
    """

    def __init__(self, first_rung: int, num: int) -> None:
        self._halving = [
            optuna.pruners.SuccessiveHalvingPruner(
                min_resource=first_rung, reduction_factor=2, min_early_stopping_rate=bracket
            )
            for bracket in range(num)
        ]

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Return whether the trial is to be stopped after its last report."""
        bracket = trial.number % len(self._halving)
        return self._halving[bracket].prune(_Within(study, bracket, len(self._halving)), trial)


class _Within(optuna.Study):
    """A study as successive halving sees it: with the trials of one bracket."""

    def __init__(self, study: optuna.Study, bracket: int, num: int) -> None:
        # Not as a study is made, which would look it up in the storage by name.
        self.__dict__.update(study.__dict__)
        self._bracket, self._num = bracket, num

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[optuna.trial.FrozenTrial]:
        """Return the trials of the bracket."""
        return [t for t in super().get_trials(deepcopy, states) if t.number % self._num == self._bracket]


def _halving_rungs(config: Config) -> list[int]:
    """Return the first rung and its doublings; at each the better half goes on. The k-th bracket begins at the k-th."""
    first, total = _first_rung(config), config.training.iterations
    return [first << k for k in range(total.bit_length()) if first << k < total]


def _population_rungs(config: Config) -> list[int]:
    """Return the ends of the fifths of the iterations with contrast but the last, each at the nearest evaluation."""
    total, interval = config.training.iterations, config.training.eval_interval
    start = min(config.contrast.start, total)
    nearest = {interval * round((start + k * (total - start) / 5) / interval) for k in range(1, 5)}
    return sorted(rung for rung in nearest if start < rung < total)


def _first_rung(config: Config) -> int:
    """Return a quarter of the iterations *with* contrast: until those, trials of one seed are alike."""
    total = config.training.iterations
    start = min(config.contrast.start, total)
    return max(1, start + (total - start) // 4)


def _no_pruner(config: Config, num_brackets: int) -> BasePruner:
    return optuna.pruners.NopPruner()


SCHEDULERS: Mapping[str, Scheduler] = {
    scheduler.name: scheduler
    for scheduler in (
        Scheduler(
            name="asha",
            help="successive halving",
            make_pruner=lambda config, num_brackets: Brackets(_first_rung(config), num_brackets),
            rungs=_halving_rungs,
            has_brackets=True,
        ),
        Scheduler(
            name="median",
            help="those below the median",
            make_pruner=lambda config, _: optuna.pruners.MedianPruner(
                n_startup_trials=3, n_warmup_steps=_first_rung(config)
            ),
            # From this one on it stops trials at any evaluation.
            rungs=lambda config: [_first_rung(config)],
        ),
        Scheduler(
            name="pbt",
            help="population based training, where children of the best take the places of the worst",
            make_pruner=_no_pruner,  # see sweeps.search.population
            rungs=_population_rungs,
            population=4,
        ),
        Scheduler(
            name="none",
            help="no trial is stopped early, as with several objectives",
            make_pruner=_no_pruner,
            rungs=lambda config: [],
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


def settle_scheduler(options: SweepOptions) -> SweepOptions:
    """Return the options with what the scheduler adds where the user has left it open.

    Raises:
        ValueError: There is no such scheduler, or it does not go with other options.
    """
    scheduler = find_scheduler(options.scheduler)
    if len(options.objectives) > 1 and not scheduler.several_objectives:
        raise ValueError(
            "With several --objectives no trial is stopped early, because one that has a lower mIoU may cost less, "
            f"so --scheduler must be none, but got {scheduler.name}. Leave it out."
        )
    if options.population and scheduler.population is None:
        raise ValueError(
            f"--population belongs to --scheduler pbt, but got --scheduler {scheduler.name}. Leave one of them out."
        )
    return replace(options, population=options.population or scheduler.population)


def make_pruner(name: str, config: Config, num_brackets: int = 1) -> BasePruner:
    """Return Optuna's pruner for a scheduler; see `rungs` for where it stops trials.

    Args:
        name: A key of `SCHEDULERS`.
        config: The config of the trials.
        num_brackets: Number of brackets, see `Brackets`.

    Raises:
        ValueError: There is no such scheduler, it has no brackets, or the iterations are too few for so many.
    """
    scheduler, most = find_scheduler(name), len(rungs("asha", config))
    if num_brackets > 1 and not scheduler.has_brackets:
        raise ValueError(f"--brackets belongs to --scheduler asha, but got --scheduler {name}. Leave one of them out.")
    if num_brackets > max(most, 1):
        raise ValueError(
            f"--brackets must be at most {most}, so many rungs fit into the iterations with contrast, but got "
            f"{num_brackets}. Give fewer, or more iterations with --set training.iterations=..."
        )
    return scheduler.make_pruner(config, num_brackets)


def rungs(name: str, config: Config) -> list[int]:
    """Return the iterations at which, or at the first evaluation after which, a scheduler may stop a trial.

    Args:
        name: A key of `SCHEDULERS`.
        config: The config of the trials.

    Returns:
        The iterations in ascending order, all before the last one of a trial.
    """
    return find_scheduler(name).rungs(config)


def in_words(options: SweepOptions) -> str:
    """Return the scheduler of a sweep, and how it is set."""
    brackets = f" in {options.brackets} brackets" if options.brackets > 1 else ""
    population = f" with a population of {options.population}" if options.population else ""
    return f"{options.scheduler}{brackets}{population}"
