"""Where values lie on an axis, and its ticks."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from sweeps.reporting.drawing.axes import linear_axis, padded_axis, param_axis


def test_axes_have_round_ticks_inside() -> None:
    axis = linear_axis(0.13, 0.87)
    assert [text for _, text in axis.ticks] == ["0.2", "0.4", "0.6", "0.8"] and axis.place(0.5) == pytest.approx(0.5)
    flat = linear_axis(3, 3)
    assert flat.place(3) == 0.5


def test_axes_of_parameters_are_as_they_are_searched() -> None:
    log = param_axis([0.1], FloatDistribution(0.01, 1, log=True))
    assert log.place(0.1) == pytest.approx(0.5) and [t for _, t in log.ticks][:3] == ["0.01", "0.02", "0.05"]
    choices = param_axis(["a", "c"], CategoricalDistribution(["a", "b"]))
    assert [text for _, text in choices.ticks] == ["a", "b", "c"] and choices.place("b") == 0.5
    few = param_axis([2, 5], None)
    assert [text for _, text in few.ticks] == ["2", "3", "4", "5"] and 0 < few.place(2) < few.place(5) < 1


def test_padding_leaves_room_on_both_sides() -> None:
    axis = padded_axis([10.0, 20.0], 4)
    assert 0 < axis.place(10.0) < 0.1 and 0.9 < axis.place(20.0) < 1
    assert padded_axis([7.0], 4).place(7.0) == 0.5
