"""The figures of a diagnosis, as plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class ClassFigures:
    """What is found of one class; None where it cannot be known. Shares are in percent.

    Attributes:
        name: The class.
        predicted: Share of the target's pixels that the teacher gives to it.
        labeled: Share of the labeled target pixels that are of it.
        right: Share of the pixels with its pseudo-label, of those that are labeled, that are of it.
        anchors: Pixels that may be its anchors (Eq. 8), over all steps.
        purity: Share of these, of those that are labeled, that are of it.
        cosine_own: Mean cosine of its anchors with its own prototype.
        cosine_other: Mean cosine of its anchors with the nearest prototype of another class.
        false_negatives: Share of its target negatives (Eq. 11) that are of it after all, by r.
        rows: Rows in use by bank.
        age: About how many iterations old the oldest of these are, by bank; None where no pixel of it was seen.
        stale: About which share of the rows is from before ``contrast.start``, by bank.
    """

    name: str
    predicted: float
    labeled: float | None = None
    right: float | None = None
    anchors: int | None = None
    purity: float | None = None
    cosine_own: float | None = None
    cosine_other: float | None = None
    false_negatives: dict[int, float | None] | None = None
    rows: dict[str, int] = field(default_factory=dict)
    age: dict[str, float | None] = field(default_factory=dict)
    stale: dict[str, float | None] = field(default_factory=dict)


@dataclass(kw_only=True)
class GradientFigures:
    """Gradients with respect to the encoder, one number a step.

    Attributes:
        norms: Norm of each loss's gradient, weights of Eq. 6 included, by the first loss of its pass.
        share: Share in percent that the contrast's norm has in the sum of all norms.
        cosine: Cosine of the contrast's gradient with that of the cross-entropy on the true labels of the same target
            images; None without labels, or where one of the two vanishes.
    """

    norms: dict[str, list[float]]
    share: list[float]
    cosine: list[float] | None


@dataclass(kw_only=True)
class Diagnosis:
    """All that is found of a run at one of its checkpoints.

    Attributes:
        iteration: Optimizer steps done.
        steps: The iterations whose images were looked at, first and last.
        images: Number of target crops.
        least_share: Percentage of the pixels from which on a class counts as predicted.
        q: Mean weight of pseudo-labels (Eq. 3).
        classes: The figures of each class.
        bank_size: Rows that a bank can have for each class; None without a contrast.
        gradients: None where they are left out.
        left_out: What is not there, and why, in whole sentences.
    """

    iteration: int
    steps: tuple[int, int]
    images: int
    least_share: float
    q: float
    classes: list[ClassFigures]
    bank_size: int | None
    gradients: GradientFigures | None
    left_out: list[str]

    @property
    def predicted(self) -> list[str]:
        """Names of the classes that the teacher predicts."""
        return [found.name for found in self.classes if found.predicted >= self.least_share]

    @property
    def anchored(self) -> list[str]:
        """Names of the classes that have anchors."""
        return [found.name for found in self.classes if found.anchors]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**dataclasses.asdict(self), "predicted": self.predicted, "anchored": self.anchored}
