"""The Optuna studies of a sweep: where they are, and how they are opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from sweeps.objectives import DIRECTIONS


def study_url(results: Path) -> str:
    """Address of a sweep's study, for Optuna and its tools."""
    return f"sqlite:///{results / 'study.db'}"


def open_studies(
    url: str,
    name: str,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    *,
    objectives: Sequence[str],
    reference: bool,
) -> tuple[optuna.Study, optuna.Study | None]:
    """The study of the search and, where there is one, that of the reference, in one storage; made where missing.

    Both have the same `objectives`, keys of :data:`sweeps.objectives.DIRECTIONS`.
    """
    storage = optuna.storages.RDBStorage(url)

    def create(name: str, **kwargs: Any) -> optuna.Study:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[DIRECTIONS[objective] for objective in objectives],
            load_if_exists=True,
            **kwargs,
        )
        study.set_metric_names(list(objectives))
        return study

    search = create(name, sampler=sampler, pruner=pruner)
    return search, create(f"{name}-reference") if reference else None
