"""Batches on their way to a GPU: as bytes, ahead of the step that takes them, and normalized there.

A pixel is 3 bytes instead of 12, and a label one instead of eight. Copies and normalization have a stream of their own,
so that those of the next batch go on while a step computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.data.batch import Batch
from pgpc.data.normalization import Normalization

_IMAGES = ("source_images", "target_images", "labeled_images")
_LABELS = ("source_labels", "labeled_labels")


class _Sent(NamedTuple):
    """A batch that is being copied, and what happens when it is there."""

    batch: Batch
    arrived: torch.cuda.Event


def on_device(batches: Iterator[Batch], device: torch.device, normalization: Normalization) -> Iterator[Batch]:
    """Yield batches on a device, as a step takes them.

    Args:
        batches: Batches on the host, bytes or not, see :class:`pgpc.data.loader.TrainingData`.
        device: The device. To a GPU each batch is sent one step ahead; its memory should be pinned.
        normalization: How images that are bytes are normalized.
    """
    if device.type != "cuda":
        for batch in batches:
            yield as_numbers(batch.to(device), normalization)
        return
    stream = torch.cuda.Stream(device)
    ahead: _Sent | None = None
    for batch in batches:
        coming = _send(batch, device, normalization, stream)
        if ahead is not None:
            yield _receive(ahead)
        ahead = coming
    if ahead is not None:
        yield _receive(ahead)


def as_numbers(batch: Batch, normalization: Normalization) -> Batch:
    """Return a batch with images that are bytes normalized, float32, and labels that are bytes int64.

    Args:
        batch: The batch; whatever is no bytes stays as it is.
        normalization: Mean and standard deviation of each band.
    """
    changed = {}
    for name in (*_IMAGES, *_LABELS):
        field = getattr(batch, name)
        if field is not None and field.dtype == torch.uint8:
            changed[name] = normalized(field, normalization) if name in _IMAGES else field.long()
    return batch._replace(**changed)


def normalized(pixels: Tensor, normalization: Normalization) -> Tensor:
    """Return pixels ``(..., C, H, W)`` normalized, float32: the same to the bit wherever it is computed."""
    scale, shift = normalization.on(pixels.device)
    return pixels.float().mul_(scale).add_(shift)


def _send(batch: Batch, device: torch.device, normalization: Normalization, stream: torch.cuda.Stream) -> _Sent:
    with torch.cuda.stream(stream):
        sent = as_numbers(batch.to(device), normalization)
        return _Sent(sent, stream.record_event())


def _receive(sent: _Sent) -> Batch:
    """Return a batch to the stream of the step, which waits for it; the host does not."""
    current = torch.cuda.current_stream()
    current.wait_event(sent.arrived)
    for field in sent.batch:
        if field is not None:
            field.record_stream(current)  # its memory is not given away before the step is done with it
    return sent.batch
