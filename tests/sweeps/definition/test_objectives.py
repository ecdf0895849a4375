"""What trials are judged on, and the front."""

from __future__ import annotations

import itertools
import random

import optuna
import pytest
from optuna.trial import create_trial

from sweeps.definition import objectives

BOTH = ("mIoU", "seconds")
WAYS = ("maximize", "minimize")


def test_front_by_hand() -> None:
    points = {"good": (30, 90), "cheap": (20, 10), "between": (25, 50), "beaten": (25, 51), "twin": (20, 10)}
    assert objectives.front(points, WAYS) == {"good", "cheap", "between", "twin"}
    assert objectives.front(points, WAYS[::-1]) == {"good", "beaten", "cheap", "twin"}, "the second is maximized"
    assert objectives.front({}, WAYS) == set()


def test_front_is_the_one_that_optuna_finds() -> None:
    numbers = random.Random(0)
    ways = ("minimize", "maximize", "minimize")
    points = {str(i): [float(numbers.randrange(6)) for _ in ways] for i in range(60)}
    study = optuna.create_study(directions=ways)
    study.add_trials([create_trial(values=values) for values in points.values()])
    assert objectives.front(points, ways) == {str(trial.number) for trial in study.best_trials}


@pytest.mark.parametrize(
    ("names", "search", "scheduler", "message"),
    [
        (["seconds"], "tpe", None, "must hold mIoU"),
        (BOTH, "tpe", "asha", "--scheduler must be none, but got asha"),
        (BOTH, "cmaes", None, "Use --search tpe or nsga2"),
        (["mIoU"], "nsga2", None, "Use --search tpe"),
    ],
)
def test_what_does_not_go_together(names: list[str], search: str, scheduler: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objectives.check(names, search=search, scheduler=scheduler)


def test_what_goes_together() -> None:
    searches = ("tpe", "random", "gp", "qmc", "nsga2", "grid")
    for search, scheduler in itertools.product(searches, (None, "none")):
        objectives.check(BOTH, search=search, scheduler=scheduler)
    objectives.check(["mIoU"], search="cmaes", scheduler="asha")


def test_memory_is_refused_where_there_is_no_gpu() -> None:
    with pytest.raises(ValueError, match="gpu_memory needs workers with a GPU"):
        objectives.check_workers(["mIoU", "gpu_memory"], 0)
    objectives.check_workers(["mIoU", "gpu_memory"], 0.5)
    objectives.check_workers(["mIoU"], 0)
