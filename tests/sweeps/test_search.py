"""The searcher and the scheduler against an in-memory study, without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

import pgpc
from sweeps import algorithms, search
from sweeps.space import own_values, search_space

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 20, "contrast.start": 0}
)
SPACE = search_space(CONFIG)


class Bench:
    """A study and a reference; `driver` makes what one driver has on top of them."""

    def __init__(self, scheduler: str = "none") -> None:
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=algorithms.make_pruner(scheduler, CONFIG),
        )
        self.reference = optuna.create_study(direction="maximize")
        self.events: list[tuple[str, str]] = []

    def driver(self, num_trials: int = 3) -> tuple[search.StudySearcher, search.PrunerScheduler]:
        searcher = search.StudySearcher(
            self.study,
            self.reference,
            space=SPACE,
            initial=own_values(CONFIG, SPACE),
            num_trials=num_trials,
            iterations=CONFIG.training.iterations,
            make_spec=lambda label, params: {"label": label, "params": params},
            on_event=lambda event, run: self.events.append((event, run.label)),
        )
        return searcher, search.PrunerScheduler(searcher)

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.trials]


def report(scheduler: search.PrunerScheduler, trial_id: str, iteration: int, value: float) -> str:
    result = {"report/iteration": iteration, "report/mIoU": value, "report/IoU/road": value, "pid": 1, "done": False}
    return scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial_id), result)


def run_reference(searcher: search.StudySearcher, scheduler: search.PrunerScheduler) -> None:
    assert searcher.suggest("reference")["label"] == "base"
    report(scheduler, "reference", 100, 10.0)
    searcher.on_trial_complete("reference", {})


def test_reference_then_the_presets_values_then_the_search() -> None:
    bench = Bench()
    searcher, _ = bench.driver()
    specs = [searcher.suggest(str(i)) for i in range(5)]
    assert [s["label"] for s in specs[:4]] == ["base", "0000", "0001", "0002"]
    assert specs[0]["params"] == {} and specs[1]["params"] == own_values(CONFIG, SPACE)
    assert set(specs[2]["params"]) == set(SPACE)
    assert specs[4] == Searcher.FINISHED


def test_complete_trial_has_its_last_value_and_curve() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    assert [report(scheduler, "a", i, v) for i, v in [(50, 20.0), (100, 30.0)]] == ["CONTINUE", "CONTINUE"]
    searcher.on_trial_complete("a", {"report/mIoU": 30.0})
    trial = bench.study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 30.0)
    assert trial.intermediate_values == {50: 20.0, 100: 30.0}
    assert trial.user_attrs["metrics"] == {"iteration": 100, "mIoU": 30.0, "IoU/road": 30.0}
    assert bench.reference.trials[0].value == 10.0


def test_asha_stops_the_worse_trial_and_the_study_says_pruned() -> None:
    bench = Bench("asha")
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("good")
    searcher.suggest("bad")
    assert report(scheduler, "good", 40, 30.0) == "CONTINUE"
    assert report(scheduler, "bad", 20, 1.0) == "CONTINUE", "before the first rung nothing is stopped"
    assert report(scheduler, "bad", 40, 1.0) == "STOP"
    searcher.on_trial_complete("bad", {})
    assert bench.states() == [TrialState.RUNNING, TrialState.PRUNED]
    assert bench.events[-1] == ("pruned", "0001")


def test_a_trial_is_not_stopped_at_its_last_iteration() -> None:
    bench = Bench("asha")
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    for trial_id, value in (("good", 30.0), ("bad", 1.0)):
        searcher.suggest(trial_id)
        assert report(scheduler, trial_id, 100, value) == "CONTINUE"
        searcher.on_trial_complete(trial_id, {})
    assert bench.states() == [TrialState.COMPLETE] * 2


def test_next_driver_hands_out_what_the_last_one_left() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    first = searcher.suggest("a")
    report(scheduler, "a", 40, 20.0)
    searcher.suggest("b")
    searcher.on_trial_complete("b", {search.FAILED: "out of memory"})

    searcher, scheduler = bench.driver()
    assert searcher.suggest("x") == first
    report(scheduler, "x", 40, 20.0)
    assert bench.events[-1] == ("resumed", "0000")
    report(scheduler, "x", 100, 21.0)
    searcher.on_trial_complete("x", {})
    assert searcher.suggest("y")["label"] == "0002", "the failed trial counts and is not tried again"
    assert searcher.suggest("z") == Searcher.FINISHED
    assert bench.study.trials[0].intermediate_values == {40: 20.0, 100: 21.0}
    assert len(bench.reference.trials) == 1


def test_interrupted_reference_goes_on_too() -> None:
    bench = Bench()
    bench.driver()[0].suggest("a")
    assert bench.driver()[0].suggest("b")["label"] == "base"
    assert len(bench.reference.trials) == 1


def test_driver_killed_while_asking_leaves_a_trial_that_can_be_completed() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    bench.study.ask()  # trial 0 without a single parameter
    spec = bench.driver()[0].suggest("a")
    assert (spec["label"], spec["params"]) == ("0000", own_values(CONFIG, SPACE))


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        ({search.FAILED: "loss/source became NaN"}, False, "loss/source became NaN"),
        (None, True, "its process was lost"),
        ({}, False, "ended at iteration 40 of 100"),
    ],
)
def test_failed_trial_keeps_the_reason(result: Any, error: bool, text: str) -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    report(scheduler, "a", 40, 20.0)
    if error:
        trial = SimpleNamespace(trial_id="a", get_pickled_error=lambda: None, should_recover=lambda: False)
        scheduler.on_trial_error(None, trial)
    searcher.on_trial_complete("a", result, error=error)
    assert bench.states() == [TrialState.FAIL]
    assert text in bench.study.trials[0].user_attrs["error"]


def test_score_that_is_no_number_fails_the_trial() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    report(scheduler, "a", 100, float("nan"))
    searcher.on_trial_complete("a", {})
    assert bench.states() == [TrialState.FAIL]


def test_first_rung_is_after_a_quarter_of_the_iterations_with_contrast() -> None:
    config = pgpc.override(CONFIG, {"contrast.start": 60})
    pruner = algorithms.make_pruner("asha", config)
    assert pruner._min_resource == 70


def test_more_trials_than_before_can_be_asked_for() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver(num_trials=1)
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    report(scheduler, "a", 100, 1.0)
    searcher.on_trial_complete("a", {})
    assert searcher.suggest("b") == Searcher.FINISHED
    assert bench.driver(num_trials=2)[0].suggest("c")["label"] == "0001"
