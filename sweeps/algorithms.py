"""The search algorithms and schedulers that a sweep can use: Optuna's samplers and pruners by name."""

from __future__ import annotations

import importlib.util

import optuna

from pgpc.config import Config

SCHEDULERS = ("asha", "median", "none")
SAMPLERS = {"tpe": (), "random": (), "gp": ("scipy",), "cmaes": ("cmaes",), "qmc": ("scipy",)}
"""Search algorithm -> packages that it needs beyond our own dependencies."""


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
        # Trials that run at the same time keep away from each other with constant_liar.
        return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=startup)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup)
    return samplers.QMCSampler(seed=seed) if name == "qmc" else samplers.RandomSampler(seed=seed)


def make_pruner(name: str, config: Config) -> optuna.pruners.BasePruner:
    """Optuna's pruner for a scheduler of `SCHEDULERS`.

    No trial is stopped before a quarter of its iterations *with* contrast: until then trials of one seed are alike.
    ASHA's rungs are there and at every doubling; at each the better half goes on.
    """
    total = config.training.iterations
    start = min(config.contrast.start, total)
    first = max(1, start + (total - start) // 4)
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=first)
    return optuna.pruners.NopPruner()
