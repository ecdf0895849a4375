"""Rungs and brackets, against studies that are made by hand, and what goes with which scheduler."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import pgpc
from sweeps.definition.options import SweepOptions
from sweeps.search import schedulers

README = Path(__file__).parents[3] / "README.md"
CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 10, "contrast.start": 20}
)


def study_of(num_brackets: int) -> optuna.Study:
    pruner = schedulers.make_pruner("asha", CONFIG, num_brackets)
    return optuna.create_study(direction="maximize", pruner=pruner)


def stopped(study: optuna.Study, trial: optuna.Trial, iteration: int, value: float) -> bool:
    trial.report(value, iteration)
    return trial.should_prune()


def test_rungs() -> None:
    assert schedulers.rungs("none", CONFIG) == []
    assert schedulers.rungs("asha", CONFIG) == [40, 80]
    # A fifth of the 80 iterations with contrast is 16: 36, 52, 68 and 84, to the nearest 10.
    assert schedulers.rungs("pbt", CONFIG) == [40, 50, 70, 80]
    assert schedulers.rungs("pbt", pgpc.override(CONFIG, {"training.eval_interval": 40})) == [40, 80]
    assert schedulers.rungs("pbt", pgpc.override(CONFIG, {"training.eval_interval": 100})) == []


def test_trials_take_turns_in_brackets_and_compete_within_theirs() -> None:
    study = study_of(2)
    trials = [study.ask() for _ in range(4)]
    assert not stopped(study, trials[0], 40, 30.0)
    assert not stopped(study, trials[1], 40, 1.0), "the second bracket begins at the second rung"
    assert stopped(study, trials[2], 40, 20.0), "the worse of two"
    assert not stopped(study, trials[1], 80, 10.0), "nobody else of its bracket has come as far"
    assert stopped(study, trials[3], 80, 9.0)
    assert not stopped(study, trials[0], 80, 5.0), "the worst of all, but alone at this rung of its bracket"


@pytest.mark.slow
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
        schedulers.make_pruner(scheduler, CONFIG, brackets)


@pytest.mark.parametrize("scheduler", list(schedulers.SCHEDULERS.values()), ids=list(schedulers.SCHEDULERS))
def test_every_scheduler_has_a_pruner_and_rungs_before_the_end(scheduler: schedulers.Scheduler) -> None:
    assert schedulers.SCHEDULERS[scheduler.name] is scheduler
    assert isinstance(schedulers.make_pruner(scheduler.name, CONFIG), optuna.pruners.BasePruner)
    assert all(0 < rung < 100 for rung in schedulers.rungs(scheduler.name, CONFIG))
    assert scheduler.help


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="--scheduler must be one of asha, .* but got 'luck'"):
        schedulers.settle_scheduler(SweepOptions(scheduler="luck"))
    with pytest.raises(ValueError, match="but got 'luck'"):
        schedulers.make_pruner("luck", CONFIG)


def test_the_population_has_a_size_where_there_is_one() -> None:
    assert schedulers.settle_scheduler(SweepOptions(scheduler="pbt")).population == 4
    assert schedulers.settle_scheduler(SweepOptions(scheduler="pbt", population=9)).population == 9
    assert schedulers.settle_scheduler(SweepOptions()).population is None
    with pytest.raises(ValueError, match="--population belongs to --scheduler pbt, but got --scheduler asha"):
        schedulers.settle_scheduler(SweepOptions(population=3))


def test_with_several_objectives_nothing_is_stopped() -> None:
    both = ("mIoU", "seconds")
    for name in schedulers.SCHEDULERS:
        if name != "none":
            with pytest.raises(ValueError, match=f"--scheduler must be none, but got {name}"):
                schedulers.settle_scheduler(SweepOptions(objectives=both, scheduler=name))
    assert schedulers.settle_scheduler(SweepOptions.from_given({"objectives": both})).scheduler == "none"


def test_the_readme_names_every_scheduler() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `--scheduler")]
    listed = {name for row in rows for name in re.search(r"--scheduler (\S+?)[` ]", row)[1].split(r"\|")}
    assert listed == set(schedulers.SCHEDULERS)
