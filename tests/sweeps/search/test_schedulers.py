"""What goes with which scheduler, and that each has a pruner."""

from __future__ import annotations

import re
from typing import Any

import optuna
import pytest

import pgpc
from sweeps.definition.options import SweepOptions
from sweeps.definition.selection import Selection
from sweeps.search import replicates, schedulers
from tests.helpers.pages import page

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 10, "contrast.start": 20}
)


IOU = Selection.parse("mIoU")


def test_rungs() -> None:
    assert schedulers.rungs(SweepOptions(scheduler="none"), CONFIG) == []
    assert schedulers.rungs(SweepOptions(), CONFIG) == [40, 60]
    assert schedulers.rungs(SweepOptions(reduction_factor=4), CONFIG) == [30, 40]
    assert schedulers.rungs(SweepOptions(first_rung=50), CONFIG) == [50, 80]
    assert schedulers.rungs(SweepOptions(scheduler="median", first_rung=75), CONFIG) == [80, 90]
    assert schedulers.rungs(SweepOptions(scheduler="pbt"), CONFIG) == [40, 50, 70, 80]


def test_the_first_rung_is_before_the_end() -> None:
    with pytest.raises(ValueError, match="--first-rung must be at most 90, the last evaluation before the end"):
        schedulers.rungs(SweepOptions(first_rung=91), CONFIG)


def test_what_is_asked_for_reaches_the_pruner() -> None:
    options = SweepOptions(first_rung=50, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=schedulers.make_pruner(options, CONFIG, IOU))

    def stopped(iteration: int, value: float) -> bool:
        trial = study.ask()
        replicates.add_to_curves(trial, {"iteration": iteration, "mIoU": value})
        return trial.should_prune()

    assert [stopped(50, value) for value in (1.0, 2.0, 1.5, 1.5, 1.5, 1.5)] == [False, False, True, True, True, False]
    assert not stopped(40, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"brackets": 2, "scheduler": "median"}, "--brackets belongs to --scheduler asha, but got --scheduler median"),
        ({"first_rung": 40, "scheduler": "pbt"}, "--first-rung belongs to --scheduler asha or median, but got"),
        ({"reduction_factor": 3, "scheduler": "median"}, "--reduction-factor belongs to --scheduler asha, but got"),
        ({"population": 3}, "--population belongs to --scheduler pbt, but got --scheduler asha"),
    ],
)
def test_an_option_of_another_scheduler_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedulers.settle_scheduler(SweepOptions(**options))


def test_there_are_no_more_brackets_than_rungs() -> None:
    with pytest.raises(ValueError, match="--brackets must be at most 2, .* but got 3"):
        schedulers.make_pruner(SweepOptions(brackets=3), CONFIG, IOU)
    schedulers.make_pruner(SweepOptions(brackets=3, first_rung=30), CONFIG, IOU)


@pytest.mark.parametrize("scheduler", list(schedulers.SCHEDULERS.values()), ids=list(schedulers.SCHEDULERS))
def test_every_scheduler_has_a_pruner_and_rungs_before_the_end(scheduler: schedulers.Scheduler) -> None:
    assert schedulers.SCHEDULERS[scheduler.name] is scheduler
    options = SweepOptions(scheduler=scheduler.name)
    assert isinstance(schedulers.make_pruner(options, CONFIG, IOU), optuna.pruners.BasePruner)
    assert all(0 < rung < 100 for rung in schedulers.rungs(options, CONFIG))
    assert scheduler.help


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="--scheduler must be one of asha, .* but got 'luck'"):
        schedulers.settle_scheduler(SweepOptions(scheduler="luck"))
    with pytest.raises(ValueError, match="but got 'luck'"):
        schedulers.make_pruner(SweepOptions(scheduler="luck"), CONFIG, IOU)


def test_the_population_has_a_size_where_there_is_one() -> None:
    assert schedulers.settle_scheduler(SweepOptions(scheduler="pbt")).population == 4
    assert schedulers.settle_scheduler(SweepOptions(scheduler="pbt", population=9)).population == 9
    assert schedulers.settle_scheduler(SweepOptions()).population is None


def test_with_several_objectives_nothing_is_stopped() -> None:
    both = ("mIoU", "seconds")
    for name in schedulers.SCHEDULERS:
        if name != "none":
            with pytest.raises(ValueError, match=f"--scheduler must be none, but got {name}"):
                schedulers.settle_scheduler(SweepOptions(objectives=both, scheduler=name))
    assert schedulers.settle_scheduler(SweepOptions.from_given({"objectives": both})).scheduler == "none"


def test_the_page_of_sweeps_names_every_scheduler() -> None:
    assert set(re.findall(r"`--scheduler (\w+)", page("sweeps.md"))) == set(schedulers.SCHEDULERS)
