"""Reading all images of a train split, once each and as a whole, to measure something over the data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from pgpc.data import transforms
from pgpc.data.config import DataConfig
from pgpc.data.loader import in_order, loading_processes
from pgpc.data.samples import read_image, read_label
from pgpc.data.shards.reader import Shards


class WholeImage(NamedTuple):
    """One image of a train split.

    Attributes:
        image: ``(1, 3, h, w)`` float32, normalized, resized as in training.
        label: ``(1, h, w)`` int64 train ids, or None where labels are not read.
    """

    image: Tensor
    label: Tensor | None


class _WholeImages(Dataset[WholeImage]):
    def __init__(self, shards: Shards, data: DataConfig, box: tuple[int, int], labeled: bool) -> None:
        self._shards, self._data, self._box, self._labeled = shards, data, box, labeled

    def __getitem__(self, row: int) -> WholeImage:
        data, pixels = self._data, read_image(self._shards, row)
        image = transforms.whole_image(pixels, self._box, data.fit, data.interpolation, data.normalization)
        if not self._labeled:
            return WholeImage(image, None)
        size = (image.shape[3], image.shape[2])
        label = transforms.label_tensor(transforms.resize_label(read_label(self._shards, row), size))
        return WholeImage(image, label[None])


def whole_images(
    shards: Shards,
    data: DataConfig,
    box: tuple[int, int],
    *,
    labeled: bool,
    rows: Sequence[int] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[WholeImage]:
    """Return an iterator over the images of a split, which loads them in the background.

    Rank k has rows k, k + world_size, ..., of those that are asked for: together the ranks have every image once.

    Args:
        shards: The split.
        data: The configuration of the resizing and of the number of processes that load images.
        box: The width and height of the domain's box.
        labeled: Whether labels are read.
        rows: The rows that are asked for, in their order; None for all.
        rank: The number of this process, from 0.
        world_size: The number of processes.

    Raises:
        ValueError: Labels are to be read, and there are images without.
        SampleError: While iterating, an image or label could not be read; the message names it.
    """
    if labeled:
        shards.check_labeled()
    share = (range(len(shards)) if rows is None else rows)[rank::world_size]
    return in_order(_WholeImages(shards, data, box, labeled), share, min(loading_processes(data), len(share)))
