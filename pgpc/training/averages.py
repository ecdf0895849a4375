"""Running means of a step's scalars, and what a run has gathered since its last report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pgpc.runtime import distributed

BANK_FILL = "bank_fill/"
"""Beginning of the names of the numbers that say how full the memory bank is."""


class Averages:
    """Running means of a step's scalars, kept on the device so that no step waits for the host.

    Args:
        names: of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}
        self.steps = 0
        self.seconds = 0.0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in the scalars of one step; ``anchors``, one number per class, becomes one scalar per class."""
        self.steps += 1
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._steps[name] = self._steps.get(name, 0) + 1

    def result(self) -> dict[str, float]:
        """Return the means over the steps that had the scalar, and over processes."""
        processes = distributed.world_size()
        means = {
            name: (distributed.all_reduce_sum(value / self._steps[name]) / processes).tolist()
            for name, value in self._sums.items()
        }
        anchors = means.pop("anchors", [])
        return {**means, **{f"anchors/{name}": number for name, number in zip(self._names, anchors)}}

    def first_non_finite(self) -> str | None:
        """Return the name of a scalar whose sum is infinite or NaN on any process, if there is one."""
        if not self._sums:
            return None
        # A non-finite summand makes the sum non-finite, on whichever process it was. The host waits once for all.
        sums = distributed.all_reduce_sum(torch.stack([value.double().sum() for value in self._sums.values()]))
        finite = torch.isfinite(sums).tolist()
        return next((name for name, fine in zip(self._sums, finite, strict=True) if not fine), None)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data that JSON takes, equal on all processes: the sums are means over them."""
        processes = distributed.world_size()
        sums = {
            name: (distributed.all_reduce_sum(value.clone()) / processes).tolist() for name, value in self._sums.items()
        }
        return {"sums": sums, "of": dict(self._steps), "steps": self.steps, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._sums = {name: torch.tensor(value, device=device) for name, value in state["sums"].items()}
        self._steps = dict(state["of"])
        self.steps, self.seconds = state["steps"], state["seconds"]


class Progress:
    """What a run carries along between two reports, beside its state.

    Attributes:
        curve: means since the last point of the training curves.
        since_report: means since the last report.
        seconds: that the training steps of the whole run have taken.

    Args:
        names: of the classes.
        seconds: of the steps already done.
    """

    def __init__(self, names: Sequence[str], seconds: float = 0.0) -> None:
        self._names = names
        self.curve, self.since_report = Averages(names), Averages(names)
        self.seconds = seconds

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in the scalars of one step."""
        for averages in (self.curve, self.since_report):
            averages.add(values)

    def took(self, seconds: float) -> None:
        """Take in how long a step took."""
        self.seconds += seconds
        for averages in (self.curve, self.since_report):
            averages.seconds += seconds

    def end_curve_point(self) -> None:
        """Begin the next point of the training curves."""
        self.curve = Averages(self._names)

    def end_report(self) -> None:
        """Begin what the next report is about."""
        self.since_report = Averages(self._names)

    def state_dict(self) -> dict[str, Any]:
        """Return plain data that JSON takes, equal on all processes."""
        return {
            "curve": self.curve.state_dict(),
            "since_report": self.since_report.state_dict(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.curve.load_state_dict(state["curve"], device)
        self.since_report.load_state_dict(state["since_report"], device)
        self.seconds = state["seconds"]
