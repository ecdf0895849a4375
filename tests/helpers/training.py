"""Training step by step: what the loop does, one call at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pgpc.bases import TrainingState, make_base
from pgpc.config import Config
from pgpc.data.batch import Batch
from pgpc.data.domains import open_shards
from pgpc.data.loader import TrainingData
from pgpc.data.shards.reader import Shards

CPU = torch.device("cpu")
SMALL = {"model.architecture": "deeplabv2", "model.encoder": "test_convnext", "data.crop": 32, "model.drop_path": 0.0}
"""Changes to a config for tests that any network is enough for: this one has few weights and no batch norm."""


def new_state(config: Config, device: torch.device = CPU) -> TrainingState:
    """Return the state before the first step, the base's own part included."""
    return make_base(config).new_state(device)


def open_pair(config: Config) -> tuple[Shards, Shards]:
    """Return the train splits of source and target."""
    data = config.data
    return open_shards(data.source, data, "train"), open_shards(data.target, data, "train")


def random_batch(config: Config) -> Batch:
    """Return random images, whose labels are in squares of 16 pixels."""
    num, side, g = config.training.batch_size, config.data.crop, torch.Generator().manual_seed(0)
    assert side is not None, "the images are crops"
    images = torch.randn(2, num, 3, side, side, generator=g)
    labels = torch.randint(0, config.model.num_classes, (num, side // 16, side // 16), generator=g)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return Batch(images[0], labels, images[1], torch.ones_like(labels, dtype=torch.bool))


def training_batches(
    config: Config, source: Shards | None = None, target: Shards | None = None, **share: Any
) -> Iterator[Batch]:
    """Return the batches of a run; its splits are opened where they are not given."""
    if source is None:
        source, target = open_pair(config)
    return make_base(config).batches(source, target, **share)


def training_data(config: Config, source: Shards, target: Shards | None, *, rank: int, world_size: int) -> TrainingData:
    """Return the batches of a run by their steps."""
    return TrainingData(
        config.data,
        source,
        target,
        plan=make_base(config).plan(source),
        seed=config.seed,
        batch_size=config.training.batch_size,
        num_classes=config.model.num_classes,
        rank=rank,
        world_size=world_size,
    )


def prepare(state: TrainingState, source: Shards, target: Shards | None) -> None:
    """Do what comes before the next step."""
    make_base(state.config).prepare(state, source, target)


def train_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance the state by one step of its base."""
    return make_base(state.config).step(state, batch)
