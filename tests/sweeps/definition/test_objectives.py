"""What trials are judged on, and the front."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.trial import create_trial

from sweeps.definition import objectives

WAYS = ("maximize", "minimize")


def test_front_by_hand() -> None:
    values = {"good": (30, 90), "cheap": (20, 10), "between": (25, 50), "beaten": (25, 51), "twin": (20, 10)}
    assert objectives.front(values, WAYS) == {"good", "cheap", "between", "twin"}
    assert objectives.front(values, WAYS[::-1]) == {"good", "beaten", "cheap", "twin"}, "the second is maximized"
    assert objectives.front({}, WAYS) == set()


def test_front_is_the_one_that_optuna_finds() -> None:
    numbers = random.Random(0)
    ways = ("minimize", "maximize", "minimize")
    values = {str(i): [float(numbers.randrange(6)) for _ in ways] for i in range(60)}
    study = optuna.create_study(directions=ways)
    study.add_trials([create_trial(values=found) for found in values.values()])
    assert objectives.front(values, ways) == {str(trial.number) for trial in study.best_trials}


def test_what_objectives_may_be() -> None:
    assert objectives.are_objectives(["seconds", "mIoU"])
    for names in ([], ["mIoU", "mIoU"], ["speed"], "mIoU"):
        assert not objectives.are_objectives(names)


@pytest.mark.parametrize("objective", objectives.OBJECTIVES.values(), ids=list(objectives.OBJECTIVES))
def test_every_objective_has_a_direction_that_optuna_knows(objective: objectives.Objective) -> None:
    assert objectives.OBJECTIVES[objective.name] is objective and objective.help
    optuna.create_study(direction=objective.direction)


def test_memory_is_refused_where_there_is_no_gpu() -> None:
    with pytest.raises(ValueError, match="gpu_memory needs workers with a GPU"):
        objectives.check_workers(["mIoU", "gpu_memory"], 0)
    objectives.check_workers(["mIoU", "gpu_memory"], 0.5)
    objectives.check_workers(["mIoU"], 0)
