"""Means of a step's scalars, by hand."""

from __future__ import annotations

import json

import pytest
import torch

from pgpc.training.averages import Averages, Progress

CPU = torch.device("cpu")


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_a_mean_is_over_the_steps_that_had_the_scalar() -> None:
    averages = Averages(["road", "car"])
    averages.add({**scalars(loss=1.0), "anchors": torch.tensor([2.0, 0.0])})
    averages.add({**scalars(loss=2.0, contrast=7.0), "anchors": torch.tensor([4.0, 1.0])})
    assert averages.result() == {"loss": 1.5, "contrast": 7.0, "anchors/road": 3.0, "anchors/car": 0.5}
    assert averages.steps == 2


def test_what_a_step_gave_is_not_changed_by_the_next_ones() -> None:
    averages, first = Averages([]), torch.tensor(1.0)
    averages.add({"loss": first})
    first += 5
    averages.add(scalars(loss=2.0))
    assert averages.result() == {"loss": 1.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_value_that_is_no_number_is_named(value: float) -> None:
    averages = Averages([])
    averages.add(scalars(good=1.0, bad=1.0))
    assert averages.first_non_finite() is None
    averages.add(scalars(good=1.0, bad=value))
    averages.add(scalars(good=1.0, bad=1.0))
    assert averages.first_non_finite() == "bad"


def test_what_is_between_two_reports_survives_a_file() -> None:
    before, after = Progress(["road"], seconds=3.0), Progress(["road"])
    before.add({**scalars(loss=1.0), "anchors": torch.tensor([2.0])})
    before.took(2.0)
    before.end_curve_point()
    before.add({**scalars(loss=4.0), "anchors": torch.tensor([3.0])})
    before.took(1.0)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())), CPU)
    assert after.seconds == 6.0 and (after.curve.seconds, after.since_report.seconds) == (1.0, 3.0)
    assert after.curve.result() == {"loss": 4.0, "anchors/road": 3.0}
    assert after.since_report.result() == {"loss": 2.5, "anchors/road": 2.5}
    after.end_report()
    assert after.since_report.result() == {} and after.curve.steps == 1
