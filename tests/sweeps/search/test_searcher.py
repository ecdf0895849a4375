"""The searcher and the scheduler against an in-memory study, without Ray running."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

import pgpc
from sweeps.definition.objectives import DIRECTIONS
from sweeps.definition.space import conditions, own_values, search_space
from sweeps.execution.tune_run import PrunerScheduler
from sweeps.search import replicates, schedulers
from sweeps.search.samplers import make_sampler
from sweeps.search.searcher import StudySearcher
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 20, "contrast.start": 0}
)
SPACE = search_space(CONFIG)


class Bench:
    """A study and a reference; `driver` makes what one driver has on top of them."""

    def __init__(
        self,
        scheduler: str = "none",
        seeds: tuple[int, ...] = (0,),
        side_by_side: bool = False,
        objectives: tuple[str, ...] = ("mIoU",),
        sampler: optuna.samplers.BaseSampler | None = None,
        ranges: dict[str, str] | None = None,
    ) -> None:
        self.seeds, self.side_by_side, self.objectives = seeds, side_by_side, objectives
        self.space = search_space(CONFIG, ranges=ranges)
        self.when = conditions(CONFIG, self.space, ranges or {})
        directions = [DIRECTIONS[name] for name in objectives]
        self.study = optuna.create_study(
            directions=directions,
            sampler=sampler or optuna.samplers.RandomSampler(seed=0),
            pruner=schedulers.make_pruner(scheduler, CONFIG),
        )
        self.reference = optuna.create_study(directions=directions)
        self.events: list[tuple[str, str]] = []
        self.params: dict[str, dict[str, Any]] = {}
        """Parameters by the label of the run that was told them."""

    def make_spec(self, label: str, params: dict[str, Any], seed: int) -> TrialSpec:
        self.params[label] = dict(params)
        config = pgpc.override(CONFIG, {"seed": seed})
        return TrialSpec(label=label, config=config, directory=Path(label), workers=Workers(count=1, cpus=1, gpus=0))

    def driver(self, num_trials: int = 3) -> tuple[StudySearcher, PrunerScheduler]:
        searcher = StudySearcher(
            self.study,
            self.reference,
            space=self.space,
            known=[own_values(CONFIG, self.space, self.when)],
            num_trials=num_trials,
            iterations=lambda params: CONFIG.training.iterations,
            make_spec=self.make_spec,
            on_event=lambda event, run: self.events.append((event, run.label)),
            seeds=self.seeds,
            side_by_side=self.side_by_side,
            when=self.when,
            objectives=self.objectives,
        )
        return searcher, PrunerScheduler(searcher)

    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.trials]


def report(scheduler: PrunerScheduler, trial_id: str, iteration: int, value: float, **others: float) -> str:
    result = {"report/iteration": iteration, "report/mIoU": value, "report/IoU/road": value, "pid": 1, "done": False}
    result |= {f"report/{name}": other for name, other in others.items()}
    return scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial_id), result)


def run_reference(searcher: StudySearcher, scheduler: PrunerScheduler) -> None:
    assert searcher.suggest("reference")["label"] == "base"
    report(scheduler, "reference", 100, 10.0, seconds=5.0)
    searcher.on_trial_complete("reference", {})


def test_reference_then_the_presets_values_then_the_search() -> None:
    bench = Bench()
    searcher, _ = bench.driver()
    specs = [searcher.suggest(str(i)) for i in range(5)]
    assert [s["label"] for s in specs[:4]] == ["base", "0000", "0001", "0002"]
    assert bench.params["base"] == {} and bench.params["0000"] == own_values(CONFIG, SPACE)
    assert set(bench.params["0001"]) == set(SPACE)
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
    searcher.on_trial_complete("b", {FAILURE: "out of memory"})

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
    assert (spec["label"], bench.params["0000"]) == ("0000", own_values(CONFIG, SPACE))


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        ({FAILURE: "loss/source became NaN"}, False, "loss/source became NaN"),
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
    assert schedulers.rungs("asha", config) == [70]
    assert schedulers.rungs("median", config) == [70]


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


def finish(searcher: StudySearcher, scheduler: PrunerScheduler, trial_id: str, value: float) -> None:
    report(scheduler, trial_id, 100, value)
    searcher.on_trial_complete(trial_id, {})


def with_reference(bench: Bench, *values: float) -> tuple[StudySearcher, PrunerScheduler]:
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
    assert [(spec["label"], TrialSpec.from_plain(spec).config.seed) for spec in specs] == [
        ("base-s4", 4),
        ("base-s7", 7),
        ("0000-s4", 4),
    ]
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
    assert (spec["label"], bench.params["0000-s1"]) == ("0000-s1", own_values(CONFIG, SPACE))
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
    searcher.on_trial_complete("b", {FAILURE: "out of memory"})
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
    searcher.on_trial_complete("a", {FAILURE: "out of memory"})
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
    assert (spec["label"], bench.params["0000-s0"]) == ("0000-s0", own_values(CONFIG, SPACE))
    finish(searcher, scheduler, "a", 30.0)
    assert searcher.suggest("b")["label"] == "0000-s1", "99 is not a mean to catch up with"
    finish(searcher, scheduler, "b", 30.0)
    assert searcher.suggest("c") == Searcher.FINISHED


# Several objectives

BOTH = ("mIoU", "seconds")


def test_trial_of_several_objectives_has_a_value_for_each_and_keeps_its_curve() -> None:
    bench = Bench("none", objectives=BOTH)
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    assert report(scheduler, "a", 50, 20.0, seconds=3.0) == "CONTINUE"
    searcher, scheduler = bench.driver()  # the last one was killed
    searcher.suggest("a")
    assert [report(scheduler, "a", i, v, seconds=i / 10) for i, v in [(50, 20.0), (100, 30.0)]] == ["CONTINUE"] * 2
    searcher.on_trial_complete("a", {})
    (trial,) = bench.study.get_trials(states=(TrialState.COMPLETE,))
    assert (trial.values, trial.intermediate_values) == ([30.0, 10.0], {})
    assert replicates.curve(trial) == {50: 20.0, 100: 30.0}
    assert bench.reference.trials[0].values == [10.0, 5.0]


def test_with_several_objectives_every_seed_is_run_and_each_objective_is_a_mean() -> None:
    bench = Bench(seeds=(0, 1), objectives=BOTH[::-1])
    searcher, scheduler = bench.driver(num_trials=2)
    for trial_id, label, value in (
        ("a", "base-s0", 10.0),
        ("b", "base-s1", 10.0),
        ("c", "0000-s0", 30.0),
        ("d", "0000-s1", 32.0),
        ("e", "0001-s0", 1.0),
        ("f", "0001-s1", 2.0),
    ):
        assert searcher.suggest(trial_id)["label"] == label
        report(scheduler, trial_id, 100, value, seconds=value + 1)
        searcher.on_trial_complete(trial_id, {})
    assert searcher.suggest("g") == Searcher.FINISHED
    assert [trial.values for trial in bench.study.trials] == [[32.0, 31.0], [2.5, 1.5]]


# Parameters that are searched only where another has a value

CONDITION = {
    "contrast.family": "hybrid,pixel_to_pixel,pixel_to_prototype",
    "contrast.negatives": "64,512 if contrast.family=pixel_to_pixel,hybrid",
}


def outcomes(bench: Bench, num_trials: int) -> list[dict[str, Any]]:
    """Parameters of so many trials, each run to its end."""
    searcher, scheduler = bench.driver(num_trials)
    run_reference(searcher, scheduler)
    for number in range(num_trials):
        params = bench.params[searcher.suggest(str(number))["label"]]
        report(scheduler, str(number), 100, 10 * params["contrast.eta"], seconds=params["contrast.r"])
        searcher.on_trial_complete(str(number), {})
    return [trial.params for trial in bench.study.trials]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "objectives"),
    [*((name, BOTH) for name in ("tpe", "random", "qmc", "gp", "nsga2")), ("tpe", BOTH[:1]), ("gp", BOTH[:1])],
)
def test_every_sampler_takes_several_objectives_and_conditions(name: str, objectives: tuple[str, ...]) -> None:
    sampler = make_sampler(name, seed=1, num_trials=12)
    bench = Bench(objectives=objectives, sampler=sampler, ranges=CONDITION)
    found = outcomes(bench, 12)
    assert bench.states() == [TrialState.COMPLETE] * 12
    assert found[0] == {**own_values(CONFIG, SPACE), "contrast.family": "hybrid"}
    assert {("contrast.negatives" in params) for params in found} == {True, False}
    for params in found:
        assert ("contrast.negatives" in params) == (params["contrast.family"] != "pixel_to_prototype")
        assert len(params) == len(bench.space) - ("contrast.negatives" not in params)


def test_driver_killed_between_a_switch_and_what_depends_on_it() -> None:
    bench = Bench(ranges=CONDITION)
    trial = bench.study.ask()
    trial.suggest_categorical("contrast.family", bench.space["contrast.family"].choices)
    trial.suggest_int("contrast.r", 2, 8)
    searcher = bench.driver(1)[0]
    searcher.suggest("base")
    params = bench.params[searcher.suggest("a")["label"]]
    assert params.keys() >= {"contrast.eta"} and params.items() >= trial.params.items()
    assert ("contrast.negatives" in params) == (trial.params["contrast.family"] != "pixel_to_prototype")


@pytest.mark.parametrize(("objectives", "together"), [(BOTH[:1], True), (BOTH, False)])
def test_tpe_models_parameters_together_where_there_is_one_objective(objectives: Any, together: bool) -> None:
    sampler = make_sampler("tpe", seed=0, num_trials=9)
    bench = Bench(objectives=objectives, sampler=sampler)
    outcomes(bench, 4)
    modeled = sampler.infer_relative_search_space(bench.study, bench.study.trials[0])
    assert set(modeled) == (set(SPACE) if together else set())
