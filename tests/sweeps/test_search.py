"""The searcher and the scheduler against an in-memory study, without Ray running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

import pgpc
from sweeps import algorithms, scheduling, search
from sweeps.space import own_values, search_space

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 20, "contrast.start": 0}
)
SPACE = search_space(CONFIG)


class Bench:
    """A study and a reference; `driver` makes what one driver has on top of them."""

    def __init__(self, scheduler: str = "none", seeds: tuple[int, ...] = (0,), side_by_side: bool = False) -> None:
        self.seeds, self.side_by_side = seeds, side_by_side
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=algorithms.make_pruner(scheduler, CONFIG),
        )
        self.reference = optuna.create_study(direction="maximize")
        self.events: list[tuple[str, str]] = []

    def driver(self, num_trials: int = 3) -> tuple[search.StudySearcher, scheduling.PrunerScheduler]:
        searcher = search.StudySearcher(
            self.study,
            self.reference,
            space=SPACE,
            known=[own_values(CONFIG, SPACE)],
            num_trials=num_trials,
            iterations=lambda params: CONFIG.training.iterations,
            make_spec=lambda label, params, seed: {"label": label, "params": params, "seed": seed},
            on_event=lambda event, run: self.events.append((event, run.label)),
            seeds=self.seeds,
            side_by_side=self.side_by_side,
        )
        return searcher, scheduling.PrunerScheduler(searcher)

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.trials]


def report(scheduler: scheduling.PrunerScheduler, trial_id: str, iteration: int, value: float) -> str:
    result = {"report/iteration": iteration, "report/mIoU": value, "report/IoU/road": value, "pid": 1, "done": False}
    return scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial_id), result)


def run_reference(searcher: search.StudySearcher, scheduler: scheduling.PrunerScheduler) -> None:
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


# Several seeds


def finish(searcher: search.StudySearcher, scheduler: scheduling.PrunerScheduler, trial_id: str, value: float) -> None:
    report(scheduler, trial_id, 100, value)
    searcher.on_trial_complete(trial_id, {})


def with_reference(bench: Bench, *values: float) -> tuple[search.StudySearcher, scheduling.PrunerScheduler]:
    """A driver that has run the reference with each seed, to these scores."""
    searcher, scheduler = bench.driver()
    for i, value in enumerate(values):
        assert searcher.suggest(f"base{i}")["label"] == f"base-s{bench.seeds[i]}"
        finish(searcher, scheduler, f"base{i}", value)
    return searcher, scheduler


def test_reference_is_run_with_every_seed_at_the_same_time() -> None:
    bench = Bench(seeds=(4, 7))
    searcher, scheduler = bench.driver()
    specs = [searcher.suggest(trial_id) for trial_id in "abc"]
    assert [(s["label"], s["seed"]) for s in specs] == [("base-s4", 4), ("base-s7", 7), ("0000-s4", 4)]
    finish(searcher, scheduler, "b", 20.0)
    assert bench.reference.trials[0].state == TrialState.RUNNING
    finish(searcher, scheduler, "a", 10.0)
    assert bench.reference.trials[0].value == 15.0


def test_trial_is_judged_on_the_mean_over_its_seeds() -> None:
    bench = Bench(seeds=(0, 1))
    searcher, scheduler = with_reference(bench, 10.0, 12.0)
    assert searcher.suggest("a")["label"] == "0000-s0"
    report(scheduler, "a", 50, 20.0)
    finish(searcher, scheduler, "a", 30.0)
    spec = searcher.suggest("b")
    assert (spec["label"], spec["params"]) == ("0000-s1", own_values(CONFIG, SPACE))
    report(scheduler, "b", 60, 99.0)
    finish(searcher, scheduler, "b", 33.0)
    trial = bench.study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 31.5)
    # The curve of the first seed, which the pruner compares, and the mean over two at twice the iterations.
    assert trial.intermediate_values == {50: 20.0, 100: 30.0, 200: 31.5}
    assert bench.events[-2:] == [("complete", "0000-s1"), ("judged", "0000-s1")]


def test_trial_that_cannot_catch_up_gets_no_more_seeds() -> None:
    bench = Bench(seeds=(0, 1, 2))
    searcher, scheduler = with_reference(bench, 10.0, 14.0, 12.0)  # seeds differ by 4 at most
    for trial_id, value in (("a", 30.0), ("b", 31.0), ("c", 32.0)):
        searcher.suggest(trial_id)
        finish(searcher, scheduler, trial_id, value)
    # The best is 31. (28.5 + 2 * (28.5 + 4)) / 3 = 31.17 may still reach it, (28.5 + 28 + 32.5) / 3 = 29.67 may not.
    assert searcher.suggest("d")["label"] == "0001-s0"
    finish(searcher, scheduler, "d", 28.5)
    assert searcher.suggest("e")["label"] == "0001-s1"
    finish(searcher, scheduler, "e", 28.0)
    assert searcher.suggest("f")["label"] == "0002-s0"
    pruned = bench.study.trials[1]
    assert pruned.state == TrialState.PRUNED
    assert pruned.intermediate_values == {100: 28.5, 200: 28.25}
    assert ("outpaced", "0001-s1") in bench.events


def test_search_waits_for_a_trial_that_may_get_more_seeds() -> None:
    bench = Bench(seeds=(0, 1))
    with_reference(bench, 10.0, 12.0)
    searcher, scheduler = bench.driver(num_trials=1)
    searcher.suggest("a")
    assert searcher.suggest("b") is None, "neither a run nor the end"
    finish(searcher, scheduler, "a", 20.0)
    assert searcher.suggest("b")["label"] == "0000-s1"
    finish(searcher, scheduler, "b", 20.0)
    assert searcher.suggest("c") == Searcher.FINISHED


def test_next_driver_goes_on_with_the_seed_that_was_interrupted() -> None:
    bench = Bench(seeds=(0, 1, 2))
    searcher, scheduler = with_reference(bench, 10.0, 14.0, 12.0)
    searcher.suggest("a")
    finish(searcher, scheduler, "a", 30.0)
    searcher.suggest("b")
    report(scheduler, "b", 50, 20.0)

    searcher, scheduler = bench.driver(num_trials=1)
    assert searcher.suggest("x")["label"] == "0000-s1", "the first seed is through, the second is not"
    report(scheduler, "x", 50, 20.0)
    assert bench.events[-1] == ("resumed", "0000-s1")
    finish(searcher, scheduler, "x", 31.0)
    assert searcher.suggest("y")["label"] == "0000-s2"
    finish(searcher, scheduler, "y", 32.0)
    assert [trial.value for trial in bench.study.trials] == [31.0]
    assert searcher.suggest("z") == Searcher.FINISHED


def test_driver_killed_between_the_last_seed_and_the_verdict() -> None:
    bench = Bench(seeds=(0, 1))
    with_reference(bench, 10.0, 12.0)
    trial = bench.study.ask()
    for seed, value in ((0, 20.0), (1, 22.0)):
        trial.set_user_attr(f"metrics-s{seed}", {"iteration": 100, "mIoU": value})
        trial.set_user_attr(f"status-s{seed}", "complete")
    searcher, _ = bench.driver(num_trials=1)
    assert searcher.suggest("a") == Searcher.FINISHED
    assert [t.value for t in bench.study.trials] == [21.0]


def test_one_seed_that_fails_fails_the_trial_and_ends_it() -> None:
    bench = Bench(seeds=(0, 1, 2))
    searcher, scheduler = with_reference(bench, 10.0, 12.0, 11.0)
    searcher.suggest("a")
    finish(searcher, scheduler, "a", 20.0)
    searcher.suggest("b")
    searcher.on_trial_complete("b", {search.FAILED: "out of memory"})
    assert bench.states() == [TrialState.FAIL]
    assert bench.study.trials[0].user_attrs["error"] == "seed 1: out of memory"
    assert searcher.suggest("c")["label"] == "0001-s0"


class Ruthless(optuna.pruners.BasePruner):
    """Stops every trial that it may."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_pruner_judges_the_first_seed_alone() -> None:
    bench = Bench(seeds=(0, 1))
    bench.study.pruner = Ruthless()
    searcher, scheduler = with_reference(bench, 10.0, 12.0)
    searcher.suggest("a")
    finish(searcher, scheduler, "a", 30.0)  # its only report is the last
    assert searcher.suggest("b")["label"] == "0000-s1"
    assert report(scheduler, "b", 40, 0.0) == "CONTINUE"
    finish(searcher, scheduler, "b", 30.0)
    assert searcher.suggest("c")["label"] == "0001-s0"
    assert report(scheduler, "c", 40, 99.0) == "STOP"
    searcher.on_trial_complete("c", {})
    assert bench.states() == [TrialState.COMPLETE, TrialState.PRUNED]
    assert searcher.suggest("d")["label"] == "0002-s0"


def test_side_by_side_every_seed_is_run_whatever_becomes_of_the_others() -> None:
    bench = Bench("asha", seeds=(0, 1), side_by_side=True)
    with_reference(bench, 10.0, 12.0)
    searcher, scheduler = bench.driver(num_trials=1)
    assert [searcher.suggest(trial_id)["label"] for trial_id in "ab"] == ["0000-s0", "0000-s1"]
    finish(searcher, scheduler, "b", 1.0)
    searcher.on_trial_complete("a", {search.FAILED: "out of memory"})
    assert bench.states() == [TrialState.FAIL]
    assert bench.study.trials[0].user_attrs["status-s1"] == "complete"


def test_values_that_do_not_go_together_fail_their_trial_alone() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver(num_trials=2)
    run_reference(searcher, scheduler)
    make_spec = searcher._make_spec
    searcher._make_spec = lambda label, *others: make_spec(label, *others) if label != "0000" else pgpc.preset("no")
    assert searcher.suggest("a")["label"] == "0001"
    assert bench.states() == [TrialState.FAIL, TrialState.RUNNING]
    assert "Unknown preset" in bench.study.trials[0].user_attrs["error"]


def test_trials_of_an_earlier_study_are_neither_counted_nor_competed_with() -> None:
    bench = Bench(seeds=(0, 1))
    with_reference(bench, 10.0, 12.0)
    params = {**own_values(CONFIG, SPACE), "contrast.eta": 0.3}
    earlier = create_trial(value=99.0, params=params, distributions=SPACE, user_attrs={"warm_start": "earlier#0"})
    bench.study.add_trial(earlier)
    searcher, scheduler = bench.driver(num_trials=1)
    spec = searcher.suggest("a")
    assert (spec["label"], spec["params"]) == ("0000-s0", own_values(CONFIG, SPACE))
    finish(searcher, scheduler, "a", 30.0)
    assert searcher.suggest("b")["label"] == "0000-s1", "99 is not a mean to catch up with"
    finish(searcher, scheduler, "b", 30.0)
    assert searcher.suggest("c") == Searcher.FINISHED
