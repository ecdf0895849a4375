"""All criteria of a network at one evaluation."""

from __future__ import annotations

import math

from torch import nn

from pgpc.classes import ClassSet
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.loader import evaluation_samples
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.criteria.table import CRITERIA
from pgpc.evaluation.criteria.target import Networks, target_criteria
from pgpc.evaluation.mode import evaluating
from pgpc.evaluation.scoring import evaluate
from pgpc.runtime import distributed


def measure(
    networks: Networks,
    *,
    target: Shards | None,
    held_out: Shards | None,
    data: DataConfig,
    classes: ClassSet,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Measure every criterion that can be measured; every process must call this.

    Args:
        networks: The networks, on one device; they are left as they were.
        target: Split of the target whose images are looked at, without labels; None leaves out what needs it.
        held_out: Labeled images of the source that the networks were not trained on; None leaves out what needs them.
        data: What the images are made into.
        classes: The C classes of the networks.
        evaluation: How images are segmented; of the target ``criteria_images`` are measured, with 0 none.

    Returns:
        Finite numbers by name, in the order of :data:`pgpc.evaluation.criteria.table.CRITERIA`. What cannot be measured
        is left out.
    """
    found = {}
    if held_out is not None:
        miou = source_miou(networks.student, held_out, data, classes, evaluation)
        if math.isfinite(miou):  # else no pixel has a label
            found["source_mIoU"] = miou
    if target is not None and evaluation.criteria_images:
        found |= target_criteria(networks, target, data, classes, evaluation=evaluation)
    return {criterion.name: found[criterion.name] for criterion in CRITERIA if criterion.name in found}


def source_miou(
    network: nn.Module, held_out: Shards, data: DataConfig, classes: ClassSet, evaluation: EvaluationConfig
) -> float:
    """Return the mIoU in percent on labeled source images, at the native size of the labels; NaN without any label.

    Args:
        network: The network; it is left as it was.
        held_out: The images.
        data: What the images are made into: their box is ``data.source_size``.
        classes: The C classes of the network.
        evaluation: How images are segmented.
    """
    rank, world_size = distributed.rank(), distributed.world_size()
    samples = evaluation_samples(held_out, data, box=data.source_size, rank=rank, world_size=world_size)
    with distributed.shared_buffers(network), evaluating(network):
        return evaluate(network, samples, classes, evaluation=evaluation).miou
