"""Shards to batches. A batch is a pure function of seed, step and place in the batch.

There is no sampler state: whatever the number of processes and of loader workers, and wherever a run is
resumed, step t sees the same images, crops and flips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pgpc.config import Config
from pgpc.data import transforms
from pgpc.data.config import DataConfig
from pgpc.data.rare_class import rare_classes
from pgpc.data.shards import Shards

# Second word of a sample's seed: the target is drawn independently of how the source is.
_SOURCE_STREAM, _TARGET_STREAM = 0, 1


class Batch(NamedTuple):
    """One process's share of a step.

    Attributes:
        source_images: ``(B, 3, H, W)`` float32, normalised.
        source_labels: ``(B, H, W)`` int64 train ids, IGNORE_INDEX on padding.
        target_images: as the source's; None where the target is not used.
        target_valid: ``(B, H, W)`` bool, False on padding; None where the target is not used.
    """

    source_images: Tensor
    source_labels: Tensor
    target_images: Tensor | None
    target_valid: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(*(None if field is None else field.to(device, non_blocking=True) for field in self))


class EvaluationSample(NamedTuple):
    """One image to score.

    Attributes:
        image: ``(1, 3, h, w)`` float32, normalised, resized into the target's box.
        label: ``(H, W)`` uint8 train ids at native size.
        name: of the image.
    """

    image: Tensor
    label: np.ndarray
    name: str


class SampleError(ValueError):
    """An image or label that could not be read during training or evaluation."""


class TrainingData(Dataset[Batch]):
    """Step to batch, for one of `world_size` processes: rank k has the k-th part of the global batch."""

    def __init__(
        self, config: Config, source: Shards, target: Shards | None, *, rank: int, world_size: int
    ) -> None:
        batch_size = config.training.batch_size
        if batch_size % world_size:
            raise ValueError(
                f"training.batch_size must be a multiple of the number of processes ({world_size}), but got "
                f"{batch_size}. Set training.batch_size={-(-batch_size // world_size) * world_size}, or "
                "start another number of processes."
            )
        if source.num_classes != config.model.num_classes:
            raise ValueError(
                f"model.num_classes must be the number of classes of the source ({source.num_classes}), but "
                f"got {config.model.num_classes}. Set model.num_classes={source.num_classes}."
            )
        source.check_labelled()
        share = batch_size // world_size
        self._indices = range(rank * share, (rank + 1) * share)
        self._seed = config.seed
        self._data = config.data
        self._source, self._target = source, target
        self._rare_classes = None
        if config.data.rare_class_sampling:
            self._rare_classes = rare_classes(
                source.class_pixels, config.data.rare_class_temperature, config.data.rare_class_min_pixels,
                source.classes,
            )  # fmt: skip

    def __getitem__(self, step: int) -> Batch:
        source = [self._source_sample(self._rng(_SOURCE_STREAM, step, i)) for i in self._indices]
        images, labels = map(torch.stack, zip(*source))
        if self._target is None:
            return Batch(images, labels, None, None)
        target = [self._target_sample(self._rng(_TARGET_STREAM, step, i)) for i in self._indices]
        target_images, valid = map(torch.stack, zip(*target))
        return Batch(images, labels, target_images, valid)

    def _rng(self, stream: int, step: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, step, index])

    def _source_sample(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image and label of a random crop, ``(3, H, W)`` float32 and ``(H, W)`` int64."""
        data = self._data
        if self._rare_classes is None:
            drawn, row = None, int(rng.integers(len(self._source)))
        else:
            drawn, row = self._rare_classes.draw(rng)
        image, label = _decode_image(self._source, row), _decode_label(self._source, row)
        size = transforms.box_size(image.shape[1], image.shape[0], data.source_size)
        label = transforms.resize_label(label, size)
        min_pixels = data.rare_class_min_crop_ratio * data.rare_class_min_pixels
        box = transforms.draw_source_box(
            rng, label, data.crop, data.crop_max_share,
            enough=lambda counts: drawn is None or counts[drawn] > min_pixels,
        )  # fmt: skip
        flip = transforms.draw_flip(rng)
        image = transforms.cut(transforms.resize_image(image, size), box)
        label = transforms.cut(label, box)
        return (
            transforms.image_tensor(image, flip=flip, side=data.crop),
            transforms.label_tensor(label, flip=flip, side=data.crop),
        )

    def _target_sample(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Image of a random crop and where it is not padding, ``(3, H, W)`` float32 and ``(H, W)`` bool."""
        assert self._target is not None, "target samples need target shards"
        crop = self._data.crop
        image = _decode_image(self._target, int(rng.integers(len(self._target))))
        image = transforms.resize_image(
            image, transforms.box_size(image.shape[1], image.shape[0], self._data.target_size)
        )
        image = transforms.cut(image, transforms.draw_box(rng, *image.shape[:2], crop))
        # Padding is at the bottom and right, also of a mirrored crop.
        valid = torch.zeros(crop, crop, dtype=torch.bool)
        valid[: image.shape[0], : image.shape[1]] = True
        return transforms.image_tensor(image, flip=transforms.draw_flip(rng), side=crop), valid


class _EvaluationData(Dataset[EvaluationSample]):
    def __init__(self, shards: Shards, box: tuple[int, int]) -> None:
        self._shards, self._box = shards, box

    def __getitem__(self, row: int) -> EvaluationSample:
        image, label = _decode_image(self._shards, row), _decode_label(self._shards, row)
        size = transforms.box_size(image.shape[1], image.shape[0], self._box)
        tensor = transforms.image_tensor(transforms.resize_image(image, size))
        return EvaluationSample(tensor[None], label, self._shards.names[row])


def training_batches(
    config: Config,
    source: Shards,
    target: Shards | None,
    *,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
) -> Iterator[Batch]:
    """The batches of steps `start_step` .. ``config.training.iterations - 1`` for one process.

    Source images are drawn by rare class sampling, or uniformly with replacement; target images uniformly
    with replacement. Labels of the target are not read.

    Args:
        config: seed, data and training are used.
        source: labelled train split.
        target: train split of the target, or None.
        rank: this process, 0 .. world_size - 1.
        world_size: number of processes that share the global batch.
        start_step: first step, for example of a resumed run.

    Raises:
        ValueError: a batch size that the processes cannot share evenly, another number of classes than the
            network's, a source without labels, or rare class sampling without an image to draw.
        SampleError: while iterating, an image or label could not be read; the message names it.
    """
    data = TrainingData(config, source, target, rank=rank, world_size=world_size)
    return _load(data, range(start_step, config.training.iterations), config.data.loader_workers)


def evaluation_samples(
    shards: Shards, data: DataConfig, *, rank: int = 0, world_size: int = 1
) -> Iterator[EvaluationSample]:
    """All images of a labelled split, one at a time.

    Rank k has rows k, k + world_size, ...: over all ranks, every image once.

    Raises:
        ValueError: the split has rows without label.
        SampleError: while iterating, an image or label could not be read; the message names it.
    """
    shards.check_labelled()
    rows = range(rank, len(shards), world_size)
    return _load(_EvaluationData(shards, data.target_size), rows, min(data.loader_workers, len(rows)))


def _load(data: Dataset, order: Sequence[int], workers: int) -> Iterator[Any]:
    """The items of `order`, prepared by `workers` processes; PyTorch gives each of them one thread."""
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator the loader would take a number from PyTorch's global one.
        generator=torch.Generator(),
    )
    return iter(loader)


def _unchanged(item: Any) -> Any:
    return item


def _decode_image(shards: Shards, row: int) -> np.ndarray:
    try:
        return transforms.decode_image(shards.image_bytes(row))
    except Exception as error:
        raise _sample_error(shards, row, "Image", error) from error


def _decode_label(shards: Shards, row: int) -> np.ndarray:
    try:
        encoded = shards.label_bytes(row)
        assert encoded is not None, "the split was checked to be labelled"
        return transforms.decode_label(encoded)
    except Exception as error:
        raise _sample_error(shards, row, "Label", error) from error


def _sample_error(shards: Shards, row: int, what: str, error: Exception) -> SampleError:
    return SampleError(
        f"{what} of {shards.names[row]!r} (split {shards.split!r} of {shards.folder}) could not be read: "
        f"{error}. The shards are damaged; pack the data set again with `pgpc pack`."
    )
