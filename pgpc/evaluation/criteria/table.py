"""All criteria in one table: their names, what they say and where they fail, and what they need. Loads no torch."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Needs(enum.Enum):
    """What a criterion needs beside a network and images of the target."""

    NOTHING = "nothing"
    TEACHER = "a teacher"
    HELD_OUT_SOURCE = "labeled source images held out of training (data.holdout)"
    FINISHED_TRIALS = "at least two finished trials of a sweep"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What is known of a criterion. Higher is better for all of them.

    Attributes:
        name: Its name, behind "criteria/" in a report.
        help: What it measures, in which range, and where it fails.
        source: Where it is from.
        needs: What it needs; where that is missing, a report does not have it.
    """

    name: str
    help: str
    source: str
    needs: Needs = Needs.NOTHING


CRITERIA: Sequence[Criterion] = (
    Criterion(
        name="source_mIoU",
        help="mIoU in percent on labeled source images that are held out of training. It does not see the gap between "
        "the domains.",
        source="the classic choice",
        needs=Needs.HELD_OUT_SOURCE,
    ),
    Criterion(
        name="entropy",
        help="Minus the mean entropy of a pixel's class probabilities, in [-1, 0]. It rewards being sure, also of one "
        "class everywhere.",
        source="Morerio et al., ICLR 2018",
    ),
    Criterion(
        name="infomax",
        help="Entropy of the mean class probabilities minus the mean entropy of a pixel's, in [0, 1]. It rewards being "
        "sure, and all classes being equally frequent.",
        source="information maximization",
    ),
    Criterion(
        name="corrc",
        help="Minus the trace of the classes' correlation matrix over its Frobenius norm, in [-sqrt(C), -1]. One class "
        "everywhere and equal probabilities everywhere both reach the maximum.",
        source="Corr-C, Tu et al., 2023",
    ),
    Criterion(
        name="snd",
        help="Soft neighborhood density: mean entropy, in nats, of the similarities between a pixel and others of its "
        "image, at most log(n - 1) of n pixels. It fails where predictions collapse: the same everywhere is the "
        "maximum.",
        source="Saito et al., ICCV 2021, arXiv 2108.10860",
    ),
    Criterion(
        name="bnm",
        help="Nuclear norm of the class probabilities of sampled pixels over its largest possible value, in (0, 1]. It "
        "rewards being sure, and all classes being equally frequent.",
        source="Cui et al., CVPR 2020; as a validator Musgrave et al., 2022",
    ),
    Criterion(
        name="teacher_agreement",
        help="mIoU in percent of the student's classes against the teacher's, over classes that either finds. One "
        "class everywhere scores 100.",
        source="this project",
        needs=Needs.TEACHER,
    ),
    Criterion(
        name="augmentation_agreement",
        help="mIoU in percent of the classes found in an image against those in a mirrored copy with other colors and "
        "blur. One class everywhere scores 100.",
        source="consistency",
    ),
    Criterion(
        name="mixval",
        help="Share of the pixels of two mixed images, 0.55 of the first, that get the class which the first has "
        "alone: mean of the share where both have the same class and of that where they differ, in [0, 1]. One class "
        "everywhere scores 0.5.",
        source="Hu et al., NeurIPS 2023, here per pixel",
    ),
)
"""All criteria that an evaluation computes, in the order of a report."""

ENSEMBLE = Criterion(
    name="ensemble",
    help="mIoU in percent against the classes that the mean probabilities of all finished trials give. It rewards "
    "being like most, also where most are wrong.",
    source="EnsV, Hu et al., 2024, here per pixel",
    needs=Needs.FINISHED_TRIALS,
)
"""The criterion that takes the networks of a whole sweep, see :mod:`pgpc.evaluation.criteria.ensemble`."""
