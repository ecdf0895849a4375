"""The search algorithms: how each is called, made and limited, and Optuna's sampler for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import optuna
from optuna.samplers import BaseSampler

from sweeps.definition.options import SweepOptions
from sweeps.search.suggestions.evolution import Evolution


class _Factory(Protocol):
    def __call__(self, *, seed: int, num_trials: int) -> BaseSampler:
        """Return a sampler for a search of `num_trials` trials, whose random numbers begin with `seed`."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A search algorithm.

    Attributes:
        name: What the user calls it.
        help: What it does, for the command's help.
        factory: Makes Optuna's sampler.
        packages: Packages that it needs beyond our own dependencies, as they are imported and installed.
        min_objectives: The fewest objectives that it takes.
        max_objectives: The most; None for any number.
        instead: What to use where there are fewer or more.
        ranks_pruned: Whether it learns from pruned trials, too, which it takes to be worse than complete ones.
    """

    name: str
    help: str
    factory: _Factory
    packages: tuple[str, ...] = ()
    min_objectives: int = 1
    max_objectives: int | None = None
    instead: str = "tpe"
    ranks_pruned: bool = False


def _tpe(*, seed: int, num_trials: int) -> BaseSampler:
    # Trials that run at the same time keep away from each other with constant_liar. Parameters are modeled together
    # where there is one objective (Optuna's default since 5.0), those of a condition each by itself.
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_startup(num_trials), constant_liar=True)


def _gp(*, seed: int, num_trials: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=_startup(num_trials))


def _cmaes(*, seed: int, num_trials: int) -> BaseSampler:
    return Evolution(seed=seed, num_startup=_startup(num_trials))


def _qmc(*, seed: int, num_trials: int) -> BaseSampler:
    return optuna.samplers.QMCSampler(seed=seed)


def _nsga2(*, seed: int, num_trials: int) -> BaseSampler:
    # Optuna's 50 trials per generation would leave most sweeps without a second one.
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, num_trials // 4)))


def _random(*, seed: int, num_trials: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: Mapping[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler(
            name="tpe",
            help="tree-structured Parzen estimators, for most searches",
            factory=_tpe,
            ranks_pruned=True,
        ),
        Sampler(name="random", help="at random", factory=_random),
        Sampler(name="gp", help="Gaussian processes, for few trials", factory=_gp, packages=("scipy",)),
        Sampler(
            name="cmaes",
            help="evolution of a covariance matrix, for many trials and one objective",
            factory=_cmaes,
            packages=("cmaes",),
            max_objectives=1,
            instead="tpe or nsga2",
        ),
        Sampler(name="qmc", help="a quasi-random sequence, spread evenly", factory=_qmc, packages=("scipy",)),
        Sampler(
            name="nsga2",
            help="a genetic algorithm for several objectives",
            factory=_nsga2,
            min_objectives=2,
        ),
        # All its trials are known before, see `sweeps.definition.space.grid`, so that its sampler is never asked.
        Sampler(name="grid", help="every combination", factory=_random),
    )
}
"""Every search algorithm by its name."""


def find_sampler(name: str) -> Sampler:
    """Return the search algorithm of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in SAMPLERS:
        raise ValueError(f"--search must be one of {', '.join(SAMPLERS)}, but got {name!r}.")
    return SAMPLERS[name]


def check_sampler(options: SweepOptions) -> None:
    """Check that the search algorithm that is asked for can do what is asked of it.

    Raises:
        ValueError: There is none of that name, it does not take that many objectives, or it needs a package that is not
            installed.
    """
    sampler, number = find_sampler(options.search), len(options.objectives)
    if number < sampler.min_objectives:
        raise ValueError(
            f"--search {sampler.name} is for several --objectives, but got one. Use --search {sampler.instead}."
        )
    if sampler.max_objectives is not None and number > sampler.max_objectives:
        raise ValueError(
            f"--search {sampler.name} takes one objective, but got several --objectives. "
            f"Use --search {sampler.instead}."
        )
    _check_packages(sampler)


def make_sampler(name: str, *, seed: int, num_trials: int) -> BaseSampler:
    """Return Optuna's sampler for a search algorithm.

    Args:
        name: A key of `SAMPLERS`.
        seed: The seed of its random numbers.
        num_trials: Trials of the whole sweep; of those that a model is fitted to, a third, at most 10, are drawn at
            random before.

    Raises:
        ValueError: There is none of that name, or it needs a package that is not installed.
    """
    sampler = find_sampler(name)
    _check_packages(sampler)
    return sampler.factory(seed=seed, num_trials=num_trials)


def _check_packages(sampler: Sampler) -> None:
    missing = [package for package in sampler.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(
            f"--search {sampler.name} needs the package {missing[0]}, which is not installed. "
            f"Run `pip install {missing[0]}`, or use --search tpe."
        )


def _startup(num_trials: int) -> int:
    """Return how many trials are drawn at random before a model is fitted."""
    return min(10, max(3, num_trials // 3))
