"""Training in double precision, for comparisons that no rounding may decide.

The same sum over a batch of two images and over two batches of one is rounded differently, and differently on every
kind of processor. In float32 that decides now and then over a pixel at a threshold, and so over a loss; in float64 the
differences are too small to reach any decision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pgpc.bases import TrainingState
from pgpc.data.batch import Batch


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Networks and memory banks that are made within hold float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def show_in_double(state: TrainingState) -> None:
    """Let the encoders take images of float64 whatever they are shown: some are read from shards within a step."""
    for network in (state.student, state.teacher):
        if network is not None:
            network.segmenter.encoder.register_forward_pre_hook(lambda _, args: (args[0].double(), *args[1:]))


def in_double(batch: Batch) -> Batch:
    """Return the batch with images of float64."""
    source, target = batch.source_images, batch.target_images
    return batch._replace(
        source_images=None if source is None else source.double(),
        target_images=None if target is None else target.double(),
    )
