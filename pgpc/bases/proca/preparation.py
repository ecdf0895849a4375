"""What ProCA does between two stages: it measures prototypes over the source, and confidences over the target."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from pgpc.bases.losses import at_stride_of
from pgpc.bases.proca.losses import part_of, probabilities
from pgpc.bases.proca.prototypes import BINS, class_sums, class_thresholds, count_confidences
from pgpc.bases.state import TrainingState, make_student
from pgpc.data.shards.reader import Shards
from pgpc.data.whole_images import whole_images
from pgpc.models.student import ForwardRequest, Student
from pgpc.runtime import distributed
from pgpc.runtime.seeding import seed_everything

log = logging.getLogger(__name__)

_LOG_INTERVAL = 1000  # images of this process between two lines of a pass over a data set


@torch.no_grad()
def prepare_adapt(state: TrainingState, source: Shards) -> None:
    """Measure the prototypes over the whole source, with the network that stage "source" ends with.

    Args:
        state: The state; prototypes and the optimizer's moments are changed.
        source: Labeled train split.
    """
    part = part_of(state)
    banks = part.features, part.outputs
    totals = [(torch.zeros_like(bank.sums), torch.zeros_like(bank.counts)) for bank in banks]
    network = _in_evaluation(state)
    for image, labels in _stream(state, source, state.config.data.source_size, labeled=True):
        assert labels is not None, "the source is labeled"
        (output,) = network(ForwardRequest(image))
        for total, map_ in zip(totals, (output.features[-1], output.require_logits()), strict=True):
            for sum_, new in zip(total, class_sums(map_, at_stride_of(map_, labels), len(total[1])), strict=True):
                sum_ += new
    for bank, (sums, counts) in zip(banks, totals, strict=True):
        bank.add(sums, counts)
    network.train()
    state.optimizer.state.clear()


@torch.no_grad()
def prepare_self_training(state: TrainingState, target: Shards) -> None:
    """Freeze the network that stage "adapt" ends with, measure its confidences, and start another one afresh.

    Args:
        state: The state; student, teacher, thresholds and the optimizer's moments are changed.
        target: Train split of the target, whose labels are not read.
    """
    config, num_classes, part = state.config, state.config.model.num_classes, part_of(state)
    network = _in_evaluation(state)
    counts = torch.zeros(num_classes, BINS, dtype=torch.long, device=part.thresholds.device)
    for image, _ in _stream(state, target, config.data.target_size, labeled=False):
        counts += count_confidences(*probabilities(network, image).max(dim=1), num_classes)
    counts = distributed.all_reduce_sum(counts)
    part.thresholds.copy_(class_thresholds(counts, limit=config.proca.label_threshold, share=config.proca.label_share))
    state.require_teacher().load_state_dict(network.state_dict())
    network.train()
    seed_everything(config.seed, "initial weights")  # as for the state itself
    # In place, because the wrapper that averages gradients and the optimizer hold these very parameters.
    network.load_state_dict(make_student(config, state.classes).state_dict())
    state.optimizer.state.clear()


def _in_evaluation(state: TrainingState) -> Student:
    """Return the student in evaluation mode, equal on all processes."""
    distributed.broadcast_buffers(state.student)
    return state.student.eval()


def _stream(
    state: TrainingState, shards: Shards, size: tuple[int, int], *, labeled: bool
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield this process's share of all images of a split, and say how far it has come."""
    rank, world_size = distributed.rank(), distributed.world_size()
    samples = whole_images(shards, state.config.data, size, labeled=labeled, rank=rank, world_size=world_size)
    for done, (image, label) in enumerate(samples):
        if rank == 0 and done % _LOG_INTERVAL == 0:
            log.info("Between two stages: %d of %d images", done * world_size, len(shards))
        yield image.to(state.device), None if label is None else label.to(state.device)
