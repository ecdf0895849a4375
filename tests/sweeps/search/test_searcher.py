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
from sweeps.definition.options import SweepOptions
from sweeps.definition.selection import Selection
from sweeps.definition.space import conditions, own_values, search_space
from sweeps.execution.tune_run import PrunerScheduler
from sweeps.search import replicates, schedulers
from sweeps.search.samplers import make_sampler
from sweeps.search.searcher import Run, StudySearcher
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers
from tests.helpers.tune_trials import tune_trial

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 20, "contrast.start": 0}
)
SPACE = search_space(CONFIG)
IOU = Selection.parse("mIoU")
SND = Selection.parse("snd")
RANK = Selection.parse("rank:snd,bnm")


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
        selection: Selection = IOU,
    ) -> None:
        self.selection = selection
        self.seeds, self.side_by_side, self.objectives = seeds, side_by_side, objectives
        self.space = search_space(CONFIG, ranges=ranges)
        self.when = conditions(CONFIG, self.space, ranges or {})
        directions = [DIRECTIONS[name] for name in objectives]
        self.study = optuna.create_study(
            directions=directions,
            sampler=sampler or optuna.samplers.RandomSampler(seed=0),
            pruner=schedulers.make_pruner(SweepOptions(scheduler=scheduler), CONFIG, selection),
        )
        self.reference = optuna.create_study(directions=directions)
        self.events: list[tuple[str, str]] = []
        self.scores: list[float] = []
        """What the run of each event scored at that time."""
        self.params: dict[str, dict[str, Any]] = {}
        """Parameters by the label of the run that was told them."""

    def make_spec(self, label: str, params: dict[str, Any], seed: int) -> TrialSpec:
        self.params[label] = dict(params)
        config = pgpc.override(CONFIG, {"seed": seed})
        return TrialSpec(label=label, config=config, directory=Path(label), workers=Workers(count=1, cpus=1, gpus=0))

    def on_event(self, event: str, run: Run) -> None:
        self.events.append((event, run.label))
        self.scores.append(run.score)

    def driver(self, num_trials: int = 3) -> tuple[StudySearcher, PrunerScheduler]:
        searcher = StudySearcher(
            self.study,
            self.reference,
            space=self.space,
            known=[own_values(CONFIG, self.space, self.when)],
            num_trials=num_trials,
            iterations=lambda params: CONFIG.training.iterations,
            make_spec=self.make_spec,
            on_event=self.on_event,
            selection=self.selection,
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
    return scheduler.on_trial_result(None, tune_trial(trial_id), result)


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
    assert replicates.curves(trial) == {50: {"mIoU": 20.0}, 100: {"mIoU": 30.0}}
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


def test_what_was_interrupted_goes_on_in_order_and_what_was_not_begun_does_not_count() -> None:
    bench = Bench()
    bench.driver(num_trials=2)  # killed when it had enqueued the preset's own values
    searcher, scheduler = bench.driver(num_trials=2)
    run_reference(searcher, scheduler)
    assert [searcher.suggest(trial_id)["label"] for trial_id in "ab"] == ["0000", "0001"]
    searcher, _ = bench.driver(num_trials=3)
    assert [searcher.suggest(trial_id)["label"] for trial_id in "xyz"] == ["0000", "0001", "0002"]


def test_a_process_that_is_started_again_is_told_and_reports_what_it_has_reported() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    report(scheduler, "a", 40, 20.0)
    searcher.note_error("a", "its process was lost", final=False)
    report(scheduler, "a", 40, 20.0)
    report(scheduler, "a", 60, 20.0)
    searcher.note_error("a", "its process was lost", final=True)
    told = [event for event, label in bench.events if label == "0000"]
    assert told == ["started", "reported", "restarted", "resumed", "reported"]


def test_a_run_that_fails_while_it_is_stopped_has_failed() -> None:
    bench = Bench("asha")
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    for trial_id, value in (("good", 30.0), ("bad", 1.0)):
        searcher.suggest(trial_id)
        report(scheduler, trial_id, 40, value)
    searcher.on_trial_complete("bad", {FAILURE: "loss/source became NaN"})
    assert bench.states() == [TrialState.RUNNING, TrialState.FAIL]


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


def test_it_is_the_best_that_a_trial_must_be_able_to_catch_up_with() -> None:
    bench = Bench(seeds=(0, 1))
    searcher, scheduler = with_reference(bench, 10.0, 12.0)
    for trial_id, value in (("a", 30.0), ("b", 32.0), ("c", 30.0), ("d", 10.0)):
        searcher.suggest(trial_id)
        finish(searcher, scheduler, trial_id, value)
    assert [trial.value for trial in bench.study.trials] == [31.0, 20.0]
    searcher.suggest("e")
    finish(searcher, scheduler, "e", 15.0)  # (15 + 15 + 20) / 2 = 25, since seeds differ by 20 at most
    assert bench.events[-1] == ("outpaced", "0002-s0")


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
    assert {i: report["mIoU"] for i, report in replicates.curves(trial).items()} == {50: 20.0, 100: 30.0}
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
    [
        *((name, BOTH) for name in ("tpe", "random", "qmc", "nsga2")),
        ("tpe", BOTH[:1]),
        pytest.param("gp", BOTH, marks=pytest.mark.long),
        pytest.param("gp", BOTH[:1], marks=pytest.mark.long),
    ],
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


# Chosen by something else than mIoU


def criteria(scheduler: PrunerScheduler, trial_id: str, iteration: int, **values: float) -> str:
    """A report without labels of the target."""
    found = {f"report/criteria/{name}": value for name, value in values.items()} | {"report/iteration": iteration}
    return scheduler.on_trial_result(None, tune_trial(trial_id), found)


def unlabeled(bench: Bench, num_trials: int = 3) -> tuple[StudySearcher, PrunerScheduler]:
    """A driver that has run the reference without labels, and begun all trials: "0", "1", ..."""
    searcher, scheduler = bench.driver(num_trials)
    searcher.suggest("reference")
    criteria(scheduler, "reference", 100, snd=0.0, bnm=0.0)
    searcher.on_trial_complete("reference", {})
    for number in range(num_trials):
        assert searcher.suggest(str(number))["label"] == f"{number:04d}"
    return searcher, scheduler


def test_a_criterion_without_any_label_drives_the_search() -> None:
    bench = Bench("asha", selection=SND)
    searcher, scheduler = unlabeled(bench)
    assert criteria(scheduler, "0", 40, snd=0.5, bnm=0.1) == "CONTINUE"
    assert criteria(scheduler, "1", 40, snd=0.4, bnm=0.9) == "STOP"
    assert criteria(scheduler, "0", 100, snd=0.7, bnm=0.1) == "CONTINUE"
    searcher.on_trial_complete("0", {})
    searcher.on_trial_complete("1", {})
    first, second, _ = bench.study.trials
    assert (first.state, first.value, first.intermediate_values) == (TrialState.COMPLETE, 0.7, {40: 0.5, 100: 0.7})
    assert second.state == TrialState.PRUNED
    assert replicates.curves(first)[40] == {"criteria/snd": 0.5, "criteria/bnm": 0.1}
    assert bench.reference.trials[0].value == 0.0
    assert bench.scores[-2:] == [0.7, 0.4]


def test_a_checkpoint_between_two_evaluations_is_no_report() -> None:
    bench = Bench(selection=SND)
    _, scheduler = unlabeled(bench)
    events = len(bench.events)
    assert criteria(scheduler, "0", 30) == "CONTINUE"
    assert len(bench.events) == events and replicates.curves(bench.study.trials[0]) == {}


@pytest.mark.parametrize(
    ("values", "message", "diverged"),
    [
        ({"snd": float("nan"), "bnm": 1.0}, "criteria/snd is not a number", True),
        ({"bnm": 1.0}, "criteria/snd was not reported, by which trials are chosen", False),
    ],
)
def test_a_trial_without_what_it_is_chosen_by_at_its_end_fails(
    values: dict[str, float], message: str, diverged: bool
) -> None:
    bench = Bench(selection=SND)
    searcher, scheduler = unlabeled(bench)
    assert criteria(scheduler, "0", 40, snd=0.5) == "CONTINUE"
    assert criteria(scheduler, "0", 100, **values) == "CONTINUE"
    searcher.on_trial_complete("0", {})
    trial = bench.study.trials[0]
    assert (trial.state, trial.user_attrs["error"]) == (TrialState.FAIL, message)
    assert replicates.has_diverged(trial) is diverged


def test_ranks_are_taken_among_those_that_have_come_as_far() -> None:
    bench = Bench("asha", selection=RANK)
    searcher, scheduler = unlabeled(bench)
    # snd and bnm do not agree: each trial has mean rank 1.5, so that nobody is better than anybody.
    assert criteria(scheduler, "0", 40, snd=0.5, bnm=0.1) == "CONTINUE"
    assert bench.scores[-1] == -1.0
    assert criteria(scheduler, "1", 40, snd=0.4, bnm=0.9) == "CONTINUE"
    assert bench.scores[-1] == -1.5
    # Third in snd and second in bnm; of three, one goes on.
    assert criteria(scheduler, "2", 40, snd=0.3, bnm=0.5) == "STOP"
    assert bench.scores[-1] == -2.5
    searcher.on_trial_complete("2", {})
    for trial_id, values in (("0", (0.9, 0.5)), ("1", (0.8, 0.4))):
        assert criteria(scheduler, trial_id, 100, snd=values[0], bnm=values[1]) == "CONTINUE"
        searcher.on_trial_complete(trial_id, {})
    trials = bench.study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED]
    assert [trial.value for trial in trials[:2]] == [-1.0, -2.0], "among those that were complete by then"
    assert all(not trial.intermediate_values for trial in trials), "a rank changes, so that none is kept"


def test_nobody_is_outpaced_in_a_mean_rank() -> None:
    bench = Bench(seeds=(0, 1), selection=RANK)
    searcher, scheduler = bench.driver(num_trials=2)
    for k, (label, snd) in enumerate(
        [("base-s0", 0.1), ("base-s1", 0.1), ("0000-s0", 0.9), ("0000-s1", 0.9), ("0001-s0", 0.0), ("0001-s1", 0.2)]
    ):
        assert searcher.suggest(str(k))["label"] == label
        criteria(scheduler, str(k), 100, snd=snd, bnm=snd)
        searcher.on_trial_complete(str(k), {})
    assert [trial.value for trial in bench.study.trials] == [-1.0, -2.0]


def test_the_choice_stands_beside_what_trials_cost() -> None:
    bench = Bench(objectives=BOTH, selection=SND)
    searcher, scheduler = bench.driver(num_trials=1)
    for trial_id in ("reference", "a"):
        searcher.suggest(trial_id)
        found = {"report/iteration": 100, "report/criteria/snd": 0.5, "report/seconds": 9.0}
        scheduler.on_trial_result(None, tune_trial(trial_id), found)
        searcher.on_trial_complete(trial_id, {})
    assert bench.study.trials[0].values == [0.5, 9.0]
    assert replicates.curves(bench.study.trials[0]) == {100: {"criteria/snd": 0.5}}


def test_a_resumed_run_is_not_judged_again_at_a_rung_it_has_passed() -> None:
    bench = Bench("asha")
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("first")
    assert report(scheduler, "first", 40, 10.0) == "CONTINUE", "the first to come"
    searcher.suggest("second")
    assert report(scheduler, "second", 40, 20.0) == "CONTINUE"
    searcher, scheduler = bench.driver()
    searcher.suggest("first")
    assert report(scheduler, "first", 40, 10.0) == "CONTINUE"
    assert report(scheduler, "first", 60, 10.0) == "CONTINUE", "alone at this one"


def test_the_curves_of_a_trial_that_an_older_version_has_begun() -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    bench.study.ask().report(12.0, 20)
    searcher, scheduler = bench.driver()
    assert searcher.suggest("a")["label"] == "0000"
    assert report(scheduler, "a", 20, 12.0) == "CONTINUE"
    assert report(scheduler, "a", 40, 13.0) == "CONTINUE"
    assert replicates.curves(bench.study.trials[0]) == {20: {"mIoU": 12.0}, 40: {"mIoU": 13.0}}


# What failed


@pytest.mark.parametrize(
    ("text", "diverged"), [("NonFiniteLoss: loss/source became NaN", True), ("out of memory", False)]
)
def test_a_trial_knows_whether_it_diverged(text: str, diverged: bool) -> None:
    bench = Bench()
    searcher, scheduler = bench.driver()
    run_reference(searcher, scheduler)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {FAILURE: text})
    assert bench.states() == [TrialState.FAIL]
    assert replicates.has_diverged(bench.study.trials[0]) is diverged


def test_points_that_the_study_has_are_not_begun_again() -> None:
    bench = Bench()
    bench.driver(num_trials=2)  # killed at once
    searcher, _ = bench.driver(num_trials=2)
    own = own_values(CONFIG, SPACE)
    for trial_id in "abc":
        searcher.suggest(trial_id)
    assert [trial.params == own for trial in bench.study.trials] == [True, False]
