"""Shards to batches. A batch is a pure function of seed, step and place in the batch.

There is no sampler state: whatever the number of processes and of loader workers, and wherever a run is
resumed, step t sees the same images, crops and flips.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pgpc.data import transforms
from pgpc.data.batch import Batch, BatchPlan
from pgpc.data.config import DataConfig
from pgpc.data.on_device import normalized
from pgpc.data.parcels import PREFETCHED, Packed, room_for_processes, unpacked
from pgpc.data.rare_class import rare_classes
from pgpc.data.samples import read_image, read_label
from pgpc.data.scaled_crops import ScaledCrops, scaled_crop
from pgpc.data.shards.reader import Shards
from pgpc.runtime.cpus import own_cpus

_MOST_PROCESSES = 4
"""One loads 44 images a second of Cityscapes' size: four load 176."""

# Second word of a sample's seed: the target is drawn independently of how the source is. ProCA's draws have 2 and 4.
_SOURCE_STREAM, _TARGET_STREAM, _LABELED_STREAM = 0, 1, 3


class EvaluationSample(NamedTuple):
    """One image to score.

    Attributes:
        image: ``(1, 3, h, w)`` float32, normalized, resized into its domain's box as in training.
        label: ``(H, W)`` uint8 train ids at native size.
        name: of the image.
    """

    image: Tensor
    label: np.ndarray
    name: str


class _Cut(NamedTuple):
    """Which part of which image of the target is shown.

    Attributes:
        row: Row of the image.
        size: Width and height that it is resized to.
        box: The crop, in pixels of that size; None for all of it.
        flip: Whether it is mirrored.
    """

    row: int
    size: tuple[int, int]
    box: transforms.Box | None
    flip: bool


class TrainingData(Dataset[Batch]):
    """Step to batch, for one of `world_size` processes: rank k has the k-th part of the global batch.

    The arguments are those of :func:`training_batches`.

    With `as_bytes` images of 8 bits and labels stay bytes, to be made into numbers by
    :func:`pgpc.data.on_device.as_numbers`; a batch with an image that is padded, with the mean color, does not.
    """

    def __init__(
        self,
        data: DataConfig,
        source: Shards,
        target: Shards | None,
        labeled: Shards | None = None,
        *,
        plan: BatchPlan,
        seed: int,
        batch_size: int,
        num_classes: int,
        rank: int,
        world_size: int,
        accumulate: int = 1,
        as_bytes: bool = False,
    ) -> None:
        if batch_size % (world_size * accumulate):
            divisor, times = world_size * accumulate, f" times training.accumulate ({accumulate})"
            raise ValueError(
                f"training.batch_size must be a multiple of the number of processes ({world_size})"
                f"{times if accumulate > 1 else ''}, but got {batch_size}. Set "
                f"training.batch_size={-(-batch_size // divisor) * divisor}, or start another number of processes."
            )
        if source.num_classes != num_classes:
            raise ValueError(
                f"model.num_classes must be the number of classes of the source ({source.num_classes}), but "
                f"got {num_classes}. Set model.num_classes={source.num_classes}."
            )
        source.check_labeled()
        self._data, self._plan, self._seed, self._as_bytes = data, plan, seed, as_bytes
        self._rank, self._world_size = rank, world_size
        self._source, self._target, self._labeled, self._batch_size = source, target, labeled, batch_size
        self._rare_classes = None
        if data.rare_class_sampling:
            self._rare_classes = rare_classes(
                source.class_pixels,
                data.rare_class_temperature,
                data.rare_class_min_pixels,
                source.classes.names,
            )

    def __getitem__(self, step: int) -> Batch:
        num_source, num_target = self._plan.images_per_step(step)
        source_images = source_labels = target_images = target_valid = None
        if num_source:
            source = [self._source_sample(step, i) for i in self._share(num_source)]
            source_images, source_labels = self._stacked(source)
        scaled: dict[str, Tensor] = {}
        if num_target and self._target is not None:
            if (scales := self._target_scales(step)) is not None:
                both = [self._scaled_target_sample(step, i, scales) for i in self._share(num_target)]
                target = [sample for sample, _ in both]
                parts = zip(ScaledCrops._fields, zip(*(crop for _, crop in both)))
                scaled = {f"scaled_{name}": torch.cat(part) for name, part in parts}
            else:
                target = [self._target_sample(step, i) for i in self._share(num_target)]
            target_images, target_valid = self._stacked(target)
        labeled_images = labeled_labels = None
        if self._labeled is not None:
            labeled = [self._labeled_sample(self._labeled, step, i) for i in self._share(self._batch_size)]
            labeled_images, labeled_labels = self._stacked(labeled)
        return Batch(
            source_images, source_labels, target_images, target_valid, labeled_images, labeled_labels, **scaled
        )

    def _stacked(self, samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return images, and labels or masks, as tensors of a batch."""
        images, others = zip(*samples)
        if len({image.dtype for image in images}) > 1:
            as_float = [x if x.is_floating_point() else normalized(x, self._data.normalization) for x in images]
            return torch.stack(as_float), torch.stack(others)
        return torch.stack(images), torch.stack(others)

    def _image_tensor(self, crop: np.ndarray, flip: bool) -> Tensor:
        data = self._data
        if self._as_bytes and crop.dtype == np.uint8 and data.crop in (None, min(crop.shape[:2])):
            return transforms.planes(crop, flip=flip)
        return transforms.image_tensor(crop, flip=flip, side=data.crop, normalization=data.normalization)

    def _label_tensor(self, label: np.ndarray, flip: bool) -> Tensor:
        dtype = np.uint8 if self._as_bytes else np.int64
        return transforms.label_tensor(label, flip=flip, side=self._data.crop, dtype=dtype)

    def _share(self, num: int) -> range:
        """Return this process's places in a global batch of `num` images."""
        share = num // self._world_size
        return range(self._rank * share, (self._rank + 1) * share)

    def _rng(self, stream: int, step: int, index: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, stream, step, index])

    def _draw_source(self, rng: np.random.Generator, step: int, index: int) -> tuple[int | None, int]:
        """Return the class that an image is drawn for, None where it is not drawn for one, and the image's row."""
        if self._rare_classes is not None:
            return self._rare_classes.draw(rng)
        row = self._plan.source_row(step, index) if self._plan.source_row is not None else None
        return None, int(rng.integers(len(self._source))) if row is None else row

    def _source_sample(self, step: int, index: int) -> tuple[Tensor, Tensor]:
        """Return image and label of a random crop, or whole, ``(3, H, W)`` float32 and ``(H, W)`` int64."""
        data, rng = self._data, self._rng(_SOURCE_STREAM, step, index)
        drawn, row = self._draw_source(rng, step, index)
        native = self._source.size(row)
        size = transforms.box_size(*native, data.source_size, data.fit)
        label = transforms.resize_label(read_label(self._source, row), size)
        box, flip = None, False
        if data.crop is not None:
            min_pixels = data.rare_class_min_crop_ratio * data.rare_class_min_pixels
            box = transforms.draw_source_box(
                rng,
                label,
                data.crop,
                data.crop_max_share,
                enough=lambda crop: drawn is None or np.count_nonzero(crop == drawn) > min_pixels,
            )
            flip = transforms.draw_flip(rng)
        image = read_image(self._source, row, transforms.needed_region(native, size, box, data.interpolation))
        crop = transforms.resize_crop(image, size, box, data.interpolation)
        return self._image_tensor(crop, flip), self._label_tensor(transforms.cut(label, box), flip)

    def target_labels(self, step: int) -> Tensor | None:
        """Return the true labels of the target images of a step, cut as they are: for a diagnosis, never for training.

        Args:
            step: 0-based iteration.

        Returns:
            ``(B, H, W)`` int64 train ids of this process's images; None where one has no label.
        """
        assert self._target is not None, "target samples need target shards"
        labels = []
        for index in self._share(self._plan.images_per_step(step)[1]):
            cut = self._draw_cut(self._target, _TARGET_STREAM, step, index)
            if self._target.label_bytes(cut.row) is None:
                return None
            labels.append(self._label_of(self._target, cut))
        return torch.stack(labels)

    def _target_sample(self, step: int, index: int) -> tuple[Tensor, Tensor]:
        """Return the image of a random crop, or whole, ``(3, H, W)`` float32, and where it counts, ``(H, W)`` bool."""
        assert self._target is not None, "target samples need target shards"
        data, cut = self._data, self._draw_cut(self._target, _TARGET_STREAM, step, index)
        width, height = cut.size
        valid = transforms.inside_margins(height, width, data.target_margins, cut.box)
        return self._image_of(self._target, cut), transforms.mask_tensor(valid, flip=cut.flip, side=data.crop)

    def _target_scales(self, step: int) -> tuple[float, float] | None:
        return self._plan.target_scales(step) if self._plan.target_scales is not None else None

    def _scaled_target_sample(
        self, step: int, index: int, scales: tuple[float, float]
    ) -> tuple[tuple[Tensor, Tensor], ScaledCrops]:
        """Return a whole image and where it counts, and a crop of it at a random scale."""
        assert self._target is not None, "target samples need target shards"
        data, rng = self._data, self._rng(_TARGET_STREAM, step, index)
        image = read_image(self._target, int(rng.integers(len(self._target))))
        width, height = data.target_size
        whole = transforms.whole_image(image, data.target_size, "exact", data.interpolation, data.normalization)[0]
        valid = transforms.mask_tensor(transforms.inside_margins(height, width, data.target_margins))
        crop = scaled_crop(
            image,
            data.target_size if data.crop is None else (data.crop, data.crop),
            scales,
            rng,
            interpolation=data.interpolation,
            normalization=data.normalization,
        )
        return (whole, valid), crop

    def _labeled_sample(self, labeled: Shards, step: int, index: int) -> tuple[Tensor, Tensor]:
        """Return image and label of a random crop, or whole: cut as target images are, with what the source has."""
        cut = self._draw_cut(labeled, _LABELED_STREAM, step, index)
        return self._image_of(labeled, cut), self._label_of(labeled, cut)

    def _draw_cut(self, target: Shards, stream: int, step: int, index: int) -> _Cut:
        """Draw an image of the target and the part of it that is shown."""
        data, rng = self._data, self._rng(stream, step, index)
        row = int(rng.integers(len(target)))
        size = width, height = transforms.box_size(*target.size(row), data.target_size, data.fit)
        if data.crop is None:
            return _Cut(row, size, None, flip=False)
        box = transforms.draw_box(rng, height, width, data.crop)
        return _Cut(row, size, box, flip=transforms.draw_flip(rng))

    def _image_of(self, target: Shards, cut: _Cut) -> Tensor:
        data = self._data
        region = transforms.needed_region(target.size(cut.row), cut.size, cut.box, data.interpolation)
        crop = transforms.resize_crop(read_image(target, cut.row, region), cut.size, cut.box, data.interpolation)
        return self._image_tensor(crop, cut.flip)

    def _label_of(self, target: Shards, cut: _Cut) -> Tensor:
        label = transforms.cut(transforms.resize_label(read_label(target, cut.row), cut.size), cut.box)
        return self._label_tensor(label, cut.flip)


class _EvaluationData(Dataset[EvaluationSample]):
    def __init__(self, shards: Shards, data: DataConfig, box: tuple[int, int]) -> None:
        self._shards, self._data, self._box = shards, data, box

    def __getitem__(self, row: int) -> EvaluationSample:
        image, label = read_image(self._shards, row), read_label(self._shards, row)
        data = self._data
        tensor = transforms.whole_image(image, self._box, data.fit, data.interpolation, data.normalization)
        return EvaluationSample(tensor, label, self._shards.names[row])


def training_batches(
    data: DataConfig,
    source: Shards,
    target: Shards | None,
    labeled: Shards | None = None,
    *,
    plan: BatchPlan,
    seed: int,
    batch_size: int,
    num_classes: int,
    steps: Sequence[int],
    rank: int = 0,
    world_size: int = 1,
    accumulate: int = 1,
    as_bytes: bool = False,
) -> Iterator[Batch]:
    """Return the batches of some steps for one process.

    Source images are drawn by rare class sampling, as the plan says, or uniformly with replacement; target images
    uniformly with replacement, and so are those that are used with labels; no other labels of the target are read. A
    crop is mirrored with probability 1/2; whole images (``data.crop=None``) never are.

    Args:
        data: What the images are made into.
        source: Labeled train split.
        target: Train split of the target, or None.
        labeled: Images of the target whose labels are used, B in each step; None for none.
        plan: How many images of each domain a step takes and, where the base decides it, which source images.
        seed: Seed of all draws, which otherwise depend on the step and the place in the batch only.
        batch_size: B, images per domain and step over all processes.
        num_classes: C of the network.
        steps: The steps (0-based), for example those that a resumed run has before it.
        rank: Number of this process, 0 .. world_size - 1.
        world_size: Number of processes that share the global batch.
        accumulate: Parts that each of them takes its share in.
        as_bytes: Whether images and labels may stay bytes, for :func:`pgpc.data.on_device.on_device`.

    Raises:
        ValueError: A batch size that the processes cannot share evenly, another number of classes than the
            network's, a source without labels, or rare class sampling without an image to draw.
        SampleError: While iterating, an image or label could not be read; the message names it.
    """
    samples = TrainingData(
        data,
        source,
        target,
        labeled,
        plan=plan,
        seed=seed,
        batch_size=batch_size,
        num_classes=num_classes,
        rank=rank,
        world_size=world_size,
        accumulate=accumulate,
        as_bytes=as_bytes,
    )
    return in_order(samples, steps, loading_processes(data))


def evaluation_samples(
    shards: Shards, data: DataConfig, *, box: tuple[int, int] | None = None, rank: int = 0, world_size: int = 1
) -> Iterator[EvaluationSample]:
    """Return all images of a labeled split, one at a time.

    Rank k has rows k, k + world_size, ...: over all ranks, every image once.

    Args:
        shards: The split.
        data: What the images are made into.
        box: Width and height of the domain's box; None is the target's.
        rank: Number of this process, from 0.
        world_size: Number of processes.

    Raises:
        ValueError: the split has rows without label.
        SampleError: while iterating, an image or label could not be read; the message names it.
    """
    shards.check_labeled()
    rows = range(rank, len(shards), world_size)
    samples = _EvaluationData(shards, data, box or data.target_size)
    return in_order(samples, rows, min(loading_processes(data), len(rows)))


def loading_processes(data: DataConfig) -> int:
    """Return how many processes decode images beside this one."""
    if data.loader_workers is not None:
        return data.loader_workers
    return min(_MOST_PROCESSES, max(own_cpus() - 1, 1))


def in_order(data: Dataset[Any], order: Sequence[int], workers: int) -> Iterator[Any]:
    """Return the items of `order`, prepared by `workers` processes; PyTorch gives each of them one thread.

    Args:
        data: The data set; with processes its items must be named tuples.
        order: Indices of its items.
        workers: Number of processes; 0 prepares the items in this one.

    Raises:
        ValueError: There is no room for what processes take before there is any item.
    """
    with warnings.catch_warnings(), room_for_processes():
        # That there are more processes than cores; they wait for disks most of the time.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            Packed(data) if workers else data,
            batch_size=None,
            sampler=order,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            # Without its own generator the loader would take a number from PyTorch's global one.
            generator=torch.Generator(),
        )
        items = iter(loader)  # which starts the processes
    return unpacked(items) if workers else items


def _unchanged(item: Any) -> Any:
    return item
