"""The two private names of Optuna that a sweep uses, each with its reason.

``setup.cfg`` pins Optuna, because a study is opened by the version that wrote it; these names hold as long as the pin.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial


def revive(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Return a trial that an earlier driver has begun in the study as one that can be reported to and ended.

    Optuna's own way, ``study.ask``, only hands out new trials. A trial is found in the storage by an id that is not its
    number and has no public name.
    """
    return optuna.Trial(study, trial._trial_id)


def stored(trial: optuna.Trial) -> FrozenTrial:
    """Return what the storage holds of one trial.

    ``study.get_trials`` reads all of them, which takes the longer the more there are.
    """
    return trial.storage.get_trial(trial._trial_id)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution can take the value; Optuna has no public test for it."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):  # text where a number is due, or no such choice
        return False
