"""What the trials of a sweep are chosen by: one number that trainings report, or the mean rank of several."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pgpc.evaluation.names import CRITERIA_PREFIX, ONLINE_CRITERIA
from pgpc.runtime.checks import check
from sweeps.common.names import METRIC

RANK = "rank:"
"""Begins a choice by the mean rank of several criteria: ``rank:snd,bnm``."""

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
            text: ``mIoU``, the name of a criterion that needs no labels of the target, or ``rank:`` and several of
                these names, separated by commas.

        Raises:
            ValueError: A name is unknown, or comes twice, or there is one name only behind ``rank:``.
        """
        names = text.removeprefix(RANK).split(",") if text.startswith(RANK) else [text]
        known = (METRIC, *ONLINE_CRITERIA)
        right = all(name in known for name in names) and len(set(names)) == len(names)
        check(
            right and (len(names) > 1 or not text.startswith(RANK)),
            f"--select-by must be one of {', '.join(known)}, or {RANK} and at least two different ones of them",
            text,
            f"Give for example snd, or {RANK}snd,bnm,entropy.",
        )
        return cls(text, tuple(name if name == METRIC else CRITERIA_PREFIX + name for name in names))

    @property
    def is_rank(self) -> bool:
        """Whether it is the mean rank of several metrics, so that a trial's score depends on the other trials."""
        return len(self.metrics) > 1

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


def _ranks(values: Mapping[Key, float]) -> dict[Key, float]:
    """Return the rank of each value, 1 for the highest; equals share the mean of their ranks."""
    ordered = sorted(values.values(), reverse=True)
    first: dict[float, int] = {}
    count: dict[float, int] = {}
    for place, value in enumerate(ordered, start=1):
        first.setdefault(value, place)
        count[value] = count.get(value, 0) + 1
    return {key: first[value] + (count[value] - 1) / 2 for key, value in values.items()}
