"""The search algorithms and schedulers that a sweep can use: Optuna's samplers and pruners by name."""

from __future__ import annotations

import importlib.util

import optuna

from pgpc.config import Config

SCHEDULERS = ("asha", "median", "none")
SAMPLERS = {
    "tpe": (), "random": (), "gp": ("scipy",), "cmaes": ("cmaes",), "qmc": ("scipy",), "nsga2": (), "grid": (),
}  # fmt: skip
"""Search algorithm -> packages that it needs beyond our own dependencies. In "grid" all points are known before, see
:func:`sweeps.space.grid`; its sampler is never asked."""


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
        # Trials that run at the same time keep away from each other with constant_liar. Parameters are modelled
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


def make_pruner(name: str, config: Config) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a scheduler of `SCHEDULERS`; see `rungs` for where it stops trials."""
    first = _first_rung(config)
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=first)
    return optuna.pruners.NopPruner()


def rungs(name: str, config: Config) -> list[int]:
    """Iterations at which, or at the first evaluation after which, a scheduler of `SCHEDULERS` may stop a trial.

    ASHA's rungs are there and at every doubling; at each the better half goes on. The median rule has one, from which
    on it stops trials at any evaluation.
    """
    first, total = _first_rung(config), config.training.iterations
    if name == "none":
        return []
    return [first] if name == "median" else [first << k for k in range(total.bit_length()) if first << k < total]


def _first_rung(config: Config) -> int:
    """A quarter of the iterations *with* contrast: until those, trials of one seed are alike."""
    total = config.training.iterations
    start = min(config.contrast.start, total)
    return max(1, start + (total - start) // 4)
