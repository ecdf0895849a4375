"""Names that users choose by, and that must be known before a network is: importing them does not load torch."""

from __future__ import annotations

from typing import Literal, get_args

from pgpc.data.config import OnlineCriterion

Network = Literal["student", "teacher"]
"""Which of the two networks of a checkpoint."""

NETWORKS: tuple[Network, ...] = get_args(Network)
"""All values of `Network`."""

Space = Literal["projection", "decoder"]
"""Which feature space of a network, see :func:`pgpc.evaluation.pixel_features.feature_map`."""

SPACES: tuple[Space, ...] = get_args(Space)
"""All values of `Space`."""

CRITERIA_PREFIX = "criteria/"
"""Begins the name under which a report holds a criterion, as in ``criteria/snd``."""

REPORT_PREFIX = "report/"
"""Begins the name under which a report holds a mean IoU over images that must not be chosen by, as ``report/mIoU``."""

CLASS_PREFIX = "IoU/"
"""Begins the name under which a report holds the IoU of one class, as ``IoU/road``."""

ONLINE_CRITERIA: tuple[OnlineCriterion, ...] = get_args(OnlineCriterion)
"""All values of `OnlineCriterion`."""

ENSEMBLE = "ensemble"
"""Name of the criterion that compares trained networks with all of them together, so that no single run has it."""
