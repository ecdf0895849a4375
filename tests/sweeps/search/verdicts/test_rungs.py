"""Where trials are compared: rungs by hand, and on every preset of the paper."""

from __future__ import annotations

import pytest

import pgpc
from pgpc.config import Config
from pgpc.presets import preset_names
from pgpc.training import trunk
from sweeps.search.verdicts.rungs import halving_rungs, last_rung, population_rungs, warm_rungs

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 10, "contrast.start": 20}
)


def changed(**training: int) -> Config:
    return pgpc.override(CONFIG, {f"training.{key}": value for key, value in training.items()})


@pytest.mark.parametrize(
    ("first", "factor", "expected"),
    [
        # Of the 80 iterations with contrast a quarter and a half.
        (None, 2, [40, 60]),
        # 80 // 9 = 8 and 24 of them: 28 and 44, at the next evaluations.
        (None, 3, [30, 50]),
        # 5 and 20 of them: 25 and 40.
        (None, 4, [30, 40]),
        # 25 are 5 of them, then 10, 20, 40: 30, 40, 60; 30 has been.
        (25, 2, [30, 40, 60]),
        (90, 2, [90]),
        # 91 would be moved to the end.
        (91, 2, []),
        # Before the contrast: 10, 20, 40, 80 iterations.
        (10, 2, [10, 20, 40, 80]),
        # At the start of the contrast there have been none with it.
        (20, 2, [20, 40, 80]),
    ],
)
def test_rungs_of_successive_halving(first: int | None, factor: int, expected: list[int]) -> None:
    assert halving_rungs(CONFIG, first, factor) == expected


def test_a_rung_that_would_be_the_end_is_none() -> None:
    # A quarter is 40 and a half 60, whose next evaluations are 60 and 60; with 70 it is 70 for both.
    assert halving_rungs(changed(eval_interval=30), None, 2) == [60]
    assert halving_rungs(changed(eval_interval=70), None, 2) == [70]
    assert halving_rungs(changed(eval_interval=100), None, 2) == []
    late = pgpc.override(CONFIG, {"contrast.start": 95})
    assert halving_rungs(late, None, 2) == [] == warm_rungs(late, None)


def test_the_median_rule_compares_at_every_evaluation_from_the_first_rung_on() -> None:
    assert warm_rungs(CONFIG, None) == [40, 50, 60, 70, 80, 90]
    assert warm_rungs(changed(eval_interval=15), None) == [45, 60, 75, 90]
    assert warm_rungs(CONFIG, 71) == [80, 90]


def test_the_last_rung_is_the_evaluation_before_the_end() -> None:
    assert [last_rung(changed(eval_interval=n)) for n in (10, 30, 99, 100, 200)] == [90, 90, 99, 0, 0]


def test_rungs_of_a_population() -> None:
    # A fifth of the 80 iterations with contrast is 16: 36, 52, 68 and 84, to the nearest 10.
    assert population_rungs(CONFIG) == [40, 50, 70, 80]
    assert population_rungs(changed(eval_interval=40)) == [40, 80]
    assert population_rungs(changed(eval_interval=100)) == []
    late = pgpc.override(CONFIG, {"contrast.start": 40, "training.eval_interval": 40})
    assert population_rungs(late) == [80], "52 is nearest to 40, where nothing tells trials apart"


@pytest.mark.parametrize("name", [name for name in preset_names() if pgpc.preset(name).contrast.enabled])
def test_two_rungs_lie_after_the_fork_of_every_preset(name: str) -> None:
    config = pgpc.preset(name)
    rungs = halving_rungs(config, None, 2)
    assert sum(rung > max(trunk.length(config), config.contrast.start) for rung in rungs) >= 2, rungs
    for found in (rungs, warm_rungs(config, None), population_rungs(config)):
        assert found and all(rung % config.training.eval_interval == 0 for rung in found), found
        assert found == sorted(set(found)) and found[-1] < config.training.iterations, found
