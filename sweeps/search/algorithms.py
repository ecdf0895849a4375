"""The search algorithms and schedulers that a sweep can use: Optuna's samplers and pruners by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Container, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from pgpc.config import Config

SCHEDULERS = ("asha", "median", "pbt", "none")
POPULATION = 4
"""Size of the population of "pbt", where the user does not say."""
SAMPLERS = {
    "tpe": (),
    "random": (),
    "gp": ("scipy",),
    "cmaes": ("cmaes",),
    "qmc": ("scipy",),
    "nsga2": (),
    "grid": (),
}
"""Search algorithm -> packages that it needs beyond our own dependencies. In "grid" all points are known before, see
:func:`sweeps.definition.space.grid`; its sampler is never asked."""


def make_sampler(name: str, *, seed: int, num_trials: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of that name.

    Args:
        name: one of `SAMPLERS`.
        seed: of its random numbers.
        num_trials: of the whole sweep; a third of them, at most 10, are drawn at random before a model is fitted.

    Raises:
        ValueError: it needs a package that is not installed.
    """
    missing = [package for package in SAMPLERS[name] if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"--search {name} needs the package {missing[0]}, which is not installed. "
            f"Run `pip install {missing[0]}`, or use --search tpe."
        )
    startup = min(10, max(3, num_trials // 3))
    samplers = optuna.samplers
    if name == "tpe":
        # Trials that run at the same time keep away from each other with constant_liar. Parameters are modeled
        # together where there is one objective (Optuna's default since 5.0), those of a condition each by itself.
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=startup)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup)
    if name == "nsga2":
        # Optuna's 50 trials per generation would leave most sweeps without a second one.
        return samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, num_trials // 4)))
    return samplers.QMCSampler(seed=seed) if name == "qmc" else samplers.RandomSampler(seed=seed)


def make_pruner(name: str, config: Config, num_brackets: int = 1) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a scheduler of `SCHEDULERS`; see `rungs` for where it stops trials.

    Args:
        name: of the scheduler.
        config: of the trials.
        num_brackets: of "asha", see :class:`Brackets`.

    Raises:
        ValueError: brackets that the scheduler does not have, or for which there are too few iterations.
    """
    most = len(rungs("asha", config))
    if num_brackets > 1 and name != "asha":
        raise ValueError(f"--brackets belongs to --scheduler asha, but got --scheduler {name}. Leave one of them out.")
    if num_brackets > max(most, 1):
        raise ValueError(
            f"--brackets must be at most {most}, so many rungs fit into the iterations with contrast, but got "
            f"{num_brackets}. Give fewer, or more iterations with --set training.iterations=..."
        )
    first = _first_rung(config)
    if name == "asha":
        return Brackets(first, num_brackets)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=first)
    return optuna.pruners.NopPruner()


class Brackets(optuna.pruners.BasePruner):
    """Asynchronous successive halving in brackets, of which each has its first rung one later than the one before.

    A trial competes within its bracket only, so that those of later brackets have more time to show what they are good
    for; see Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020. Trials take turns: the
    bracket follows from the trial's number, and is the same for every driver.

    Args:
        first_rung: of the first bracket, in iterations.
        num: of brackets.
    """

    def __init__(self, first_rung: int, num: int) -> None:
        self._halving = [
            optuna.pruners.SuccessiveHalvingPruner(
                min_resource=first_rung, reduction_factor=2, min_early_stopping_rate=bracket
            )
            for bracket in range(num)
        ]

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial is to be stopped after its last report."""
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
        """Those of the bracket."""
        return [t for t in super().get_trials(deepcopy, states) if t.number % self._num == self._bracket]


def rungs(name: str, config: Config) -> list[int]:
    """Iterations at which, or at the first evaluation after which, a scheduler of `SCHEDULERS` may stop a trial.

    ASHA's rungs are there and at every doubling; at each the better half goes on. The k-th bracket begins with the k-th
    rung. The median rule has one, from which on it stops trials at any evaluation. Population based training has them
    after each fifth of the iterations with contrast but the last, brought to the nearest evaluation.
    """
    first, total = _first_rung(config), config.training.iterations
    if name == "none":
        return []
    if name == "pbt":
        start, interval = min(config.contrast.start, total), config.training.eval_interval
        nearest = {interval * round((start + k * (total - start) / 5) / interval) for k in range(1, 5)}
        return sorted(rung for rung in nearest if start < rung < total)
    return [first] if name == "median" else [first << k for k in range(total.bit_length()) if first << k < total]


def in_words(flags: Mapping[str, Any]) -> str:
    """The scheduler of a sweep with these flags, and how it is set."""
    brackets = f" in {flags['brackets']} brackets" if flags["brackets"] > 1 else ""
    population = f" with a population of {flags['population']}" if flags["population"] else ""
    return f"{flags['scheduler']}{brackets}{population}"


def _first_rung(config: Config) -> int:
    """A quarter of the iterations *with* contrast: until those, trials of one seed are alike."""
    total = config.training.iterations
    start = min(config.contrast.start, total)
    return max(1, start + (total - start) // 4)
