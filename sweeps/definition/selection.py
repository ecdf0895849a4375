"""What the trials of a sweep are chosen by: one number that trainings report, or the mean rank of several."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pgpc.evaluation.names import CRITERIA_PREFIX, ENSEMBLE, ONLINE_CRITERIA
from pgpc.runtime.checks import check
from sweeps.common.names import METRIC

RANK = "rank:"
"""Begins a choice by the mean rank of several criteria: ``rank:snd,bnm``."""
DRIVING = (METRIC, *ONLINE_CRITERIA)
"""What a sweep can choose by while it runs: trainings report it."""
NAMES = (*DRIVING, ENSEMBLE)
"""What trials can be chosen by when they have finished."""
_RANKS = f"or {RANK} and at least two different ones of them, as in {RANK}snd,bnm"
CHOICES = f"one of {', '.join(DRIVING)}, {_RANKS}"
"""What a sweep can choose by in words, to follow "must be"."""
CHOICES_OF_REPORT = f"one of {', '.join(NAMES)}, {_RANKS}"
"""The same of a report."""
_PERCENT = (METRIC, "source_mIoU", "teacher_agreement", "augmentation_agreement", ENSEMBLE)

DEFAULT_SELECTION = "bnm"
"""What trials are chosen by where the target has no labels and the user does not say; see docs/selection.md for why."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Selection:
    """What the trials of a sweep are chosen by, higher being better.

    Attributes:
        text: The choice as the user writes it: ``mIoU``, ``snd`` or ``rank:snd,bnm,entropy``.
        metrics: Names of the reported metrics that it is made of; one, or those whose ranks are averaged.
    """

    text: str
    metrics: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Return the choice that a text asks for.

        Args:
            text: ``mIoU``, the name of a criterion that needs no labels of the target, ``ensemble`` among them, or
                ``rank:`` and several of these names, separated by commas.

        Raises:
            ValueError: A name is unknown, or comes twice, or there is one name only behind ``rank:``.
        """
        check(is_selection(text), f"--select-by must be {CHOICES_OF_REPORT}", text)
        return cls(text, tuple(name if name == METRIC else CRITERIA_PREFIX + name for name in _names(text)))

    @property
    def name(self) -> str:
        """What the score is called in tables and on the screen."""
        return "minus mean rank" if self.is_rank else self.text

    @property
    def unit(self) -> str:
        """The unit of the score, to follow a number; "" for one without."""
        return " %" if self.text in _PERCENT else ""

    @property
    def title(self) -> str:
        """The score's name and unit, for an axis."""
        return f"{self.name},{self.unit}" if self.unit else self.name

    @property
    def digits(self) -> int:
        """How many decimals of the score are shown."""
        return 2 if self.text in _PERCENT or self.is_rank else 4

    @property
    def spec(self) -> str:
        """The format of the score as a number."""
        return f".{self.digits}f"

    @property
    def is_rank(self) -> bool:
        """Whether it is the mean rank of several metrics, so that a trial's score depends on the other trials."""
        return len(self.metrics) > 1

    @property
    def needs_finished_trials(self) -> bool:
        """Whether it is made of what only finished trials have, so that it can rank them but not drive a search."""
        return CRITERIA_PREFIX + ENSEMBLE in self.metrics

    @property
    def needs_labels(self) -> bool:
        """Whether it is made of scores on labeled target images."""
        return METRIC in self.metrics

    def has(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a report holds all that the choice is made of, each a number."""
        return all(not math.isnan(metrics.get(name, math.nan)) for name in self.metrics)

    def scores(self, reports: Mapping[Key, Mapping[str, float]]) -> dict[Key, float]:
        """Return the score of each report, higher being better; reports that lack a part of it are left out.

        Args:
            reports: Metrics by trial, or by whatever else is compared.

        Returns:
            The metric itself; or for several minus the mean of the ranks among these reports, where the best has rank
            1 and equals share the mean of their ranks.
        """
        complete = {key: metrics for key, metrics in reports.items() if self.has(metrics)}
        if not self.is_rank:
            return {key: metrics[self.metrics[0]] for key, metrics in complete.items()}
        ranks = [_ranks({key: metrics[name] for key, metrics in complete.items()}) for name in self.metrics]
        return {key: -sum(rank[key] for rank in ranks) / len(ranks) for key in complete}


OPTIMISTIC = (
    "Ranking by labeled images of the target is the paper's and the field's habit, and optimistic: who adapts to a "
    "target has no labels there."
)
"""What is to be said wherever trials are ranked by labels of the target."""

BY_MIOU = Selection(METRIC, (METRIC,))
"""The choice by labels of the target, which is the paper's and the field's habit."""


def can_drive(text: str) -> bool:
    """Return whether a text asks for a choice that a sweep can make while it runs."""
    return is_selection(text) and not Selection.parse(text).needs_finished_trials


def is_selection(text: str) -> bool:
    """Return whether a text asks for a choice that there is, be it of a report only."""
    names = _names(text)
    right = all(name in NAMES for name in names) and len(set(names)) == len(names)
    return right and (len(names) > 1) == text.startswith(RANK)


def _names(text: str) -> list[str]:
    return text.removeprefix(RANK).split(",") if text.startswith(RANK) else [text]


def _ranks(values: Mapping[Key, float]) -> dict[Key, float]:
    """Return the rank of each value, 1 for the highest; equals share the mean of their ranks."""
    ordered = sorted(values.values(), reverse=True)
    first: dict[float, int] = {}
    count: dict[float, int] = {}
    for place, value in enumerate(ordered, start=1):
        first.setdefault(value, place)
        count[value] = count.get(value, 0) + 1
    return {key: first[value] + (count[value] - 1) / 2 for key, value in values.items()}
