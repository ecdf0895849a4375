"""What a report reads from a sweep's study: the curves of its trials and the importances of its parameters."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeps.common.names import REFERENCE_LABEL
from sweeps.search import replicates
from sweeps.search.study import find_studies

MIN_TRIALS = 10
"""Number of complete trials from which on importances are told."""


@dataclass(frozen=True, kw_only=True)
class Importances:
    """How much each parameter sets the best trials apart.

    Attributes:
        shares: Config key -> share, in descending order; the shares sum to 1, or there are none.
        missing: Why there are none, or "".
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """What a study tells a report.

    Attributes:
        reports: Label of a trial that was started -> iteration -> name -> value of the metrics that trials can be
            chosen by; of its first seed.
        importances: Importances of the parameters.
    """

    reports: Mapping[str, Mapping[int, Mapping[str, float]]]
    importances: Importances


def read_study(folder: Path, objective: int, *, is_search: bool) -> StudyData:
    """Read the study in a sweep's folder, where there is one.

    Args:
        folder: Folder of the sweep.
        objective: Which of the objectives is what trials are chosen by, from 0.
        is_search: Whether parameters were searched.
    """
    study, reference = find_studies(folder)
    trials = {f"{trial.number:04d}": trial for trial in _started(study)}
    for trial in _started(reference):
        trials[REFERENCE_LABEL] = trial
    found = importances(study, objective) if is_search else Importances(missing="nothing was searched")
    return StudyData(
        reports={label: replicates.curves(trial) for label, trial in trials.items()},
        importances=found,
    )


def importances(study: optuna.Study | None, objective: int) -> Importances:
    """Return how important each parameter is for one of a study's objectives, which is maximized.

    Of fewer than `MIN_TRIALS` complete trials there are none: they would be a matter of chance.
    """
    complete = [] if study is None else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if study is None or len(complete) < MIN_TRIALS:
        return Importances(missing=f"it takes {MIN_TRIALS} complete trials, and there are {len(complete)}")
    if len({trial.values[objective] for trial in complete}) < 2:
        return Importances(missing=f"all {len(complete)} complete trials have the same score")
    # A target is taken to be minimized; without one Optuna would ask what sets the front apart.
    target = (lambda trial: -trial.values[objective]) if len(study.directions) > 1 else None
    with _hidden("sklearn"):
        import optuna.importance as optuna_importance
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna_importance.get_param_importances(study, target=target)
    except (ValueError, RuntimeError) as error:
        return Importances(missing=str(error))
    if not found or any(math.isnan(value) for value in found.values()):
        return Importances(missing="none of the parameters varies among the complete trials")
    return Importances(shares=found)


def _started(study: optuna.Study | None) -> list[FrozenTrial]:
    return [] if study is None else [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Keep a package from being imported.

    Optuna imports scikit-learn, which takes seconds, for two ways of computing importances that a report does not use;
    where it is missing Optuna does without.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own sign that a package cannot be imported
    try:
        yield
    finally:
        del sys.modules[package]
