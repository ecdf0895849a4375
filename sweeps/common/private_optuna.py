"""The private names of Optuna that a sweep uses, each with its reason.

``setup.cfg`` pins Optuna, because a study is opened by the version that wrote it; these names hold as long as the pin.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from pgpc.runtime.databases import connect


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


def set_system_attr(study: optuna.Study, trial: FrozenTrial, key: str, value: Any) -> None:
    """Keep something of a trial that a sampler has to know again; a sampler is given no trial that can be written."""
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


class UnitCube(_SearchSpaceTransform):
    """A space whose parameters lie between 0 and 1, as samplers that compute with them need it; none is categorical.

    Args:
        space: The distribution of each parameter.
    """

    def __init__(self, space: dict[str, BaseDistribution]) -> None:
        super().__init__(space, transform_step=True, transform_0_1=True)


def point_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, also of one that is only enqueued, whose parameters have no public name."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


class StudyView(optuna.Study):
    """A study whose trials look different to a sampler.

    Samplers ask for trials in one place, below the public ``get_trials``, because they share a copy of them there.

    Args:
        study: The study.
        rewrite: Function that gives what is to be seen in place of all its trials, which it must not change.
    """

    def __init__(self, study: optuna.Study, rewrite: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> None:
        # Not as a study is made, which would look it up in the storage by name.
        self.__dict__.update(study.__dict__)
        self._rewrite = rewrite

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        every = self._rewrite(super()._get_trials(deepcopy, use_cache=use_cache))
        return [trial for trial in every if states is None or trial.state in states]


def reopen_failed(
    file: Path, study_name: str, forget: Callable[[str, Any], bool], *, patience: float = 5.0
) -> list[int]:
    """Turn the failed trials of a study into running ones, which the next driver takes for interrupted.

    Optuna lets nothing change a trial that has ended, and an enqueued copy would have another number. It must not have
    opened the file yet, since it keeps what it has read of trials that have ended.

    Args:
        file: SQLite database of the study.
        study_name: Name of the study.
        forget: Function that says of a user attribute of such a trial, by name and value, whether it is removed.
        patience: Seconds to wait for another program that has locked the file.

    Returns:
        The numbers of these trials, ascending; all of them change at once or, where the process is killed, none.
    """
    if not file.is_file():
        return []
    with contextlib.closing(connect(file, patience)) as database:
        failed = database.execute(
            "SELECT trial_id, number FROM trials JOIN studies USING (study_id) "
            "WHERE study_name = ? AND state = 'FAIL' ORDER BY number",
            (study_name,),
        ).fetchall()
        for trial_id, _ in failed:
            of_trial = database.execute(
                "SELECT trial_user_attribute_id, key, value_json FROM trial_user_attributes WHERE trial_id = ?",
                (trial_id,),
            ).fetchall()
            gone = [(row,) for row, key, value in of_trial if forget(key, json.loads(value))]
            database.executemany("DELETE FROM trial_user_attributes WHERE trial_user_attribute_id = ?", gone)
            database.execute(
                "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = ?", (trial_id,)
            )
        database.commit()
    return [number for _, number in failed]


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution can take the value; Optuna has no public test for it."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError):  # text where a number is due, or no such choice
        return False
