"""Rungs and brackets, against studies that are made by hand."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

import pgpc
from sweeps.search import algorithms

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 10, "contrast.start": 20}
)


def study_of(num_brackets: int) -> optuna.Study:
    pruner = algorithms.make_pruner("asha", CONFIG, num_brackets)
    return optuna.create_study(direction="maximize", pruner=pruner)


def stopped(study: optuna.Study, trial: optuna.Trial, iteration: int, value: float) -> bool:
    trial.report(value, iteration)
    return trial.should_prune()


def test_rungs() -> None:
    assert algorithms.rungs("none", CONFIG) == []
    assert algorithms.rungs("asha", CONFIG) == [40, 80]
    # A fifth of the 80 iterations with contrast is 16: 36, 52, 68 and 84, to the nearest 10.
    assert algorithms.rungs("pbt", CONFIG) == [40, 50, 70, 80]
    assert algorithms.rungs("pbt", pgpc.override(CONFIG, {"training.eval_interval": 40})) == [40, 80]
    assert algorithms.rungs("pbt", pgpc.override(CONFIG, {"training.eval_interval": 100})) == []


def test_trials_take_turns_in_brackets_and_compete_within_theirs() -> None:
    study = study_of(2)
    trials = [study.ask() for _ in range(4)]
    assert not stopped(study, trials[0], 40, 30.0)
    assert not stopped(study, trials[1], 40, 1.0), "the second bracket begins at the second rung"
    assert stopped(study, trials[2], 40, 20.0), "the worse of two"
    assert not stopped(study, trials[1], 80, 10.0), "nobody else of its bracket has come as far"
    assert stopped(study, trials[3], 80, 9.0)
    assert not stopped(study, trials[0], 80, 5.0), "the worst of all, but alone at this rung of its bracket"


def test_the_bracket_of_a_trial_is_the_same_for_the_next_driver(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    first = optuna.create_study(storage=url, study_name="s", direction="maximize", pruner=study_of(2).pruner)
    for value in (30.0, 30.0):
        trial = first.ask()
        assert not stopped(first, trial, 40, value) and not stopped(first, trial, 80, value)
    second = optuna.load_study(storage=url, study_name="s", pruner=study_of(2).pruner)
    trials = [second.ask(), second.ask()]
    assert stopped(second, trials[0], 40, 20.0)
    assert not stopped(second, trials[1], 40, 20.0) and stopped(second, trials[1], 80, 20.0)


def test_one_bracket_is_plain_successive_halving() -> None:
    plain = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=40, reduction_factor=2)
    )
    decisions = []
    for study in (plain, study_of(1)):
        found = []
        for k in range(12):
            trial = study.ask()
            ends = next((i for i in (20, 40, 60, 80) if stopped(study, trial, i, (k * 7) % 12 + i / 100)), None)
            study.tell(trial, state=TrialState.PRUNED if ends else TrialState.COMPLETE, values=None if ends else 1.0)
            found.append(ends)
        decisions.append(found)
    assert decisions[0] == decisions[1] and {40, 80, None} == set(decisions[0])


@pytest.mark.parametrize(
    ("scheduler", "brackets", "message"),
    [("asha", 3, "--brackets must be at most 2, .* but got 3"), ("median", 2, "--brackets belongs to")],
)
def test_brackets_that_cannot_be_are_refused(scheduler: str, brackets: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        algorithms.make_pruner(scheduler, CONFIG, brackets)
