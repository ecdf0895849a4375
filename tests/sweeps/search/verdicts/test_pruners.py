"""Who is stopped at a rung: tables by hand, a plain reference, and Optuna's own pruner where there is one metric."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from sweeps.definition.selection import Selection
from sweeps.search import replicates
from sweeps.search.verdicts.pruners import MedianRule, SuccessiveHalving

IOU = Selection.parse("mIoU")
RANK = Selection.parse("rank:snd,bnm")


class Bench:
    """A study whose trials report at iterations of their own."""

    def __init__(self, pruner: optuna.pruners.BasePruner) -> None:
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.trials: list[optuna.Trial] = []

    def stopped(self, number: int, iteration: int, **report: float) -> bool:
        """Whether a trial is stopped at a report; trials are begun as they are needed."""
        while len(self.trials) <= number:
            self.trials.append(self.study.ask())
        named = {name if name == "mIoU" else f"criteria/{name}": value for name, value in report.items()}
        replicates.add_to_curves(self.trials[number], {"iteration": iteration, **named})
        return self.trials[number].should_prune()


def halving(rungs: Sequence[int] = (40, 60), factor: int = 2, brackets: int = 1, selection: Selection = IOU) -> Bench:
    return Bench(SuccessiveHalving(selection, rungs, factor, brackets))


# Successive halving


@pytest.mark.parametrize(
    ("factor", "values", "stopped"),
    [
        # Of two and of three one goes on, of four and five two: 20 is second of five.
        (2, [10, 20, 15, 5, 20], [False, False, True, True, False]),
        # Of up to five one goes on, of six two.
        (3, [10, 5, 12, 11, 11, 11], [False, True, False, True, True, False]),
        # Equals are not better than each other.
        (2, [7, 7, 7], [False, False, False]),
    ],
)
def test_halving_by_hand(factor: int, values: list[float], stopped: list[bool]) -> None:
    bench = halving(factor=factor)
    assert [bench.stopped(k, 40, mIoU=value) for k, value in enumerate(values)] == stopped


def test_nobody_is_stopped_between_rungs() -> None:
    bench = halving()
    bench.stopped(0, 40, mIoU=9.0)
    assert not bench.stopped(1, 20, mIoU=0.0), "before the first"
    assert bench.stopped(1, 40, mIoU=0.0)
    assert not bench.stopped(2, 40, mIoU=10.0)
    assert not bench.stopped(2, 50, mIoU=0.0), "after it"
    assert not bench.stopped(2, 60, mIoU=0.0), "alone at the second"


def test_a_trial_is_judged_once_at_a_rung() -> None:
    bench = halving()
    assert not bench.stopped(0, 40, mIoU=10.0), "the first to come"
    assert not bench.stopped(1, 40, mIoU=20.0)
    assert not bench.stopped(0, 50, mIoU=float("nan")), "its last number is that of 40, where it has been judged"
    assert not bench.stopped(0, 55, mIoU=10.0)


def test_whoever_has_come_as_far_counts_whatever_became_of_it() -> None:
    bench = halving()
    for number, state in enumerate((TrialState.PRUNED, TrialState.FAIL)):
        bench.stopped(number, 40, mIoU=9.0)
        bench.study.tell(bench.trials[number], state=state)
    assert bench.stopped(2, 40, mIoU=8.0)


def test_trials_of_an_earlier_study_do_not_count() -> None:
    bench = halving()
    attrs = {"warm_start": "earlier#0", "curves": {"40": {"mIoU": 99.0}}}
    params, space = {"x": 0.5}, {"x": FloatDistribution(0, 1)}
    bench.study.add_trial(create_trial(value=99.0, params=params, distributions=space, user_attrs=attrs))
    bench.trials.append(bench.study.ask())  # a place for the number of the earlier one
    assert not bench.stopped(1, 40, mIoU=1.0)


def test_evaluations_elsewhere_count_at_the_rung_before_them() -> None:
    bench = halving()
    bench.stopped(0, 40, mIoU=9.0)
    assert not bench.stopped(1, 35, mIoU=0.0)
    assert bench.stopped(1, 70, mIoU=1.0), "the worse of two at 40, if not at 60"


def test_a_value_that_is_no_number_decides_nothing() -> None:
    bench = halving()
    bench.stopped(0, 40, mIoU=9.0)
    assert not bench.stopped(1, 40, mIoU=float("nan"))
    assert not bench.stopped(2, 40, mIoU=9.5), "there are two with numbers"


def test_trials_take_turns_in_brackets_and_compete_within_theirs() -> None:
    bench = halving((40, 80), brackets=2)
    assert not bench.stopped(0, 40, mIoU=30.0)
    assert not bench.stopped(1, 40, mIoU=1.0), "the second bracket begins at the second rung"
    assert bench.stopped(2, 40, mIoU=20.0), "the worse of two"
    assert not bench.stopped(1, 80, mIoU=10.0), "nobody else of its bracket has come as far"
    assert bench.stopped(3, 80, mIoU=9.0)
    assert not bench.stopped(0, 80, mIoU=5.0), "the worst of all, but alone at this rung of its bracket"
    assert not bench.stopped(5, 40, mIoU=0.5), "the worst of its bracket, but this is no rung of it"


def test_decisions_are_those_of_optuna_where_it_has_the_same_rungs() -> None:
    decisions = []
    plain = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=20, reduction_factor=2)
    )
    bench, numbers = halving((20, 40, 80)), random.Random(3)
    for k in range(40):
        trial, found = plain.ask(), []
        for iteration in (10, 20, 30, 40, 60, 80):
            value = numbers.random()
            trial.report(value, iteration)
            found.append((trial.should_prune(), bench.stopped(k, iteration, mIoU=value)))
            if any(found[-1]):
                break
        decisions += found
    assert all(theirs == ours for theirs, ours in decisions)
    assert sum(ours for _, ours in decisions) > 20, "most are stopped"


def test_ranks_are_those_among_the_trials_at_the_rung() -> None:
    bench, numbers = halving(factor=2, selection=RANK), random.Random(0)
    reports: list[dict[str, float]] = []
    stopped = 0
    for number in range(30):
        reports.append({"snd": numbers.randrange(9), "bnm": numbers.randrange(9)})
        found = bench.stopped(number, 40, **reports[-1])
        assert found == (not goes_on(reports, 2))
        stopped += found
    assert 10 < stopped < 25


def goes_on(reports: Sequence[Mapping[str, float]], factor: int) -> bool:
    """The rule for the last of these, in other words: its place by the sum of its ranks."""

    def rank(name: str, report: Mapping[str, float]) -> float:
        values = [other[name] for other in reports]
        return sum(v > report[name] for v in values) + (sum(v == report[name] for v in values) + 1) / 2

    sums = [rank("snd", report) + rank("bnm", report) for report in reports]
    return sum(other < sums[-1] for other in sums) < max(1, len(reports) // factor)


# The median


def test_median_by_hand() -> None:
    bench = Bench(MedianRule(IOU, (40, 50)))
    assert not any(bench.stopped(k, 40, mIoU=value) for k, value in enumerate((10.0, 20.0, 1.0))), "two others at most"
    assert not bench.stopped(3, 40, mIoU=10.0), "the median of 1, 10 and 20"
    assert bench.stopped(4, 40, mIoU=9.9), "the median of 1, 10, 10 and 20 is 10"
    assert not bench.stopped(0, 50, mIoU=0.0), "alone there"
    assert not bench.stopped(5, 30, mIoU=0.0), "before the first rung"


def test_median_of_ranks_by_hand() -> None:
    bench = Bench(MedianRule(RANK, (40,)))
    for k in range(3):
        assert not bench.stopped(k, 40, snd=k, bnm=k)
    # Ranks among the four: 4 and 1, mean 2.5. The others have (3, 4), (2, 3) and (1, 2): 3.5, 2.5 and 1.5.
    assert not bench.stopped(3, 40, snd=-1.0, bnm=9.0)
    # Ranks among the five: 4 and 5, mean 4.5; the others have 3.5, 2.5, 1.5 and 3, of which the median is 2.75.
    assert bench.stopped(4, 40, snd=-0.5, bnm=-0.5)
