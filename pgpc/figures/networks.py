"""Checkpoints and images for the figures: what is compared, under which names, and on which rows of a split."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from pgpc.data import transforms
from pgpc.data.config import DataConfig
from pgpc.data.samples import read_image, read_label
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.loaded_model import LoadedModel, load_model
from pgpc.evaluation.mode import teaching
from pgpc.evaluation.names import Network, Space
from pgpc.evaluation.overlay import photo
from pgpc.evaluation.pixel_features import draw_pixels, feature_map, features_at
from pgpc.evaluation.segmentation import logits, predict
from pgpc.figures.comparison import Compared, evenly_spaced
from pgpc.figures.selection import selection_figure
from pgpc.models.checkpoint import CHECKPOINT
from pgpc.runtime import distributed
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Sample(NamedTuple):
    """One image of a split.

    Attributes:
        image: Image ``(1, 3, h, w)``, float32, normalized and resized as in evaluation.
        label: Train ids ``(H, W)``, uint8, at native size, or None.
        size: Native height and width.
    """

    image: Tensor
    label: np.ndarray | None
    size: tuple[int, int]


def load_networks(paths: Sequence[Path], network: Network) -> list[LoadedModel]:
    """Read several networks, onto the device of this process.

    Args:
        paths: Runs, checkpoints or exports, as :func:`pgpc.evaluation.loaded_model.load_model` takes them.
        network: Which network of each checkpoint.

    Raises:
        FileNotFoundError: One is not there.
        ValueError: One cannot be read, or they do not tell the same classes apart.
    """
    networks = [load_model(path, network) for path in paths]
    first = networks[0]
    for other in networks[1:]:
        if other.classes.names != first.classes.names:
            raise ValueError(
                f"All networks must tell the same classes apart, but {first.file} has "
                f"{', '.join(first.classes.names)} and {other.file} has {', '.join(other.classes.names)}. "
                "Draw them in figures of their own."
            )
    for loaded in networks:
        loaded.student.to(distributed.local_device())
    return networks


def load_selecting(path: Path, network: Network | None) -> tuple[LoadedModel, Network]:
    """Read the network that selects pixels, and say which it is.

    Args:
        path: A run, a checkpoint or an export.
        network: Which network of the checkpoint; None takes the teacher where there is one.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It cannot be read, or has no such network.
    """
    if network is None:
        try:
            return load_networks([path], "teacher")[0], "teacher"
        except ValueError:  # of a file that is damaged, reading the student says so too
            network = "student"
    return load_networks([path], network)[0], network


def check_data(networks: Sequence[LoadedModel], shards: Shards) -> None:
    """Refuse labels that are not of the networks' classes.

    Raises:
        ValueError: The split is labeled with other classes.
    """
    theirs, ours = shards.classes.names, networks[0].classes.names
    if shards.num_labeled and theirs != ours:
        raise ValueError(
            f"Images must be labeled with the networks' classes, but {shards.folder} has {', '.join(theirs)} and "
            f"{networks[0].file} has {', '.join(ours)}. Choose data with the networks' classes."
        )


def titles_of(paths: Sequence[Path]) -> list[str]:
    """Find the shortest names that tell runs apart: a run's folder, with as many folders above it as are needed.

    A folder that is called alike in all of them, as the seed's often is, tells nothing and is left out, and numbers
    alone tell too little.
    """
    folders = [path.absolute() for path in paths]
    folders = [path.parent if path.name == CHECKPOINT else path for path in folders]
    parts = [(*path.parts[1:-1], path.name if path.is_dir() else path.stem) for path in folders]
    if len(set(parts)) < len(parts):
        return [str(path) for path in paths]
    while len(parts) > 1 and len({names[-1] for names in parts}) == 1:
        parts = [names[:-1] for names in parts]
    for depth in range(1, max(map(len, parts)) + 1):
        titles = ["/".join(names[-depth:]) for names in parts]
        if len(set(titles)) == len(titles) and not all(title.isdecimal() for title in titles):
            break
    return titles


def find_row(shards: Shards, name: str) -> int:
    """Find the row of an image, given by its name or by its number.

    Raises:
        ValueError: There is neither.
    """
    if name in shards.names:
        return shards.names.index(name)
    check(
        name.isdecimal() and int(name) < len(shards),
        f"an image of split {shards.split!r} of {shards.folder} must be named, or numbered 0 to {len(shards) - 1}",
        name,
        f"The first is {shards.names[0]!r}.",
    )
    return int(name)


def find_rows(shards: Shards, images: Sequence[str]) -> list[int]:
    """Find the rows of images.

    Args:
        shards: The split that has the images.
        images: One number, for so many rows evenly spaced over the split; or names or numbers of rows.

    Raises:
        ValueError: One is no name of an image, or there would be no image at all.
    """
    if len(images) == 1 and images[0].isdecimal() and images[0] not in shards.names:
        check(int(images[0]) > 0, "--images must be at least 1", images[0])
        return evenly_spaced(len(shards), int(images[0]))
    return [find_row(shards, name) for name in images]


def read_sample(shards: Shards, row: int, data: DataConfig) -> Sample:
    """Read one image, and its label where it has one.

    Raises:
        SampleError: It cannot be read; the message names it.
    """
    pixels = read_image(shards, row)
    image = transforms.whole_image(pixels, data.target_size, data.fit, data.interpolation, data.normalization)
    label = read_label(shards, row) if shards.label_bytes(row) is not None else None
    return Sample(image, label, (pixels.shape[0], pixels.shape[1]))


def compare(networks: Sequence[LoadedModel], shards: Shards, row: int) -> Compared:
    """Segment one image with several networks, each as in its own evaluation, at its native size."""
    predictions = []
    for loaded in networks:
        sample = read_sample(shards, row, loaded.config.data)
        model, evaluation = loaded.student.segmenter, loaded.config.evaluation
        prediction = predict(model, sample.image.to(distributed.local_device()), sample.size, evaluation=evaluation)
        predictions.append(prediction.byte().cpu().numpy())
    return Compared(photo(sample.image, sample.size, loaded.config.data), predictions, sample.label)


def pixel_features(
    networks: Sequence[LoadedModel],
    shards: Shards,
    rows: Sequence[int],
    space: Space,
    *,
    per_class: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[list[np.ndarray], np.ndarray]:
    """Compute the features of the same pixels in each network, equally many pixels of each class.

    Args:
        networks: Networks in evaluation mode.
        shards: The split that has the images.
        rows: Rows of the images, all of which must have labels.
        space: Which features, see :func:`pgpc.evaluation.pixel_features.feature_map`.
        per_class: Number of pixels of each class.
        seed: Seed of their draw.
        on_progress: Function that is called with the number of images done and in all.

    Returns:
        Features ``(P, D)`` for each network, and train ids ``(P,)``.

    Raises:
        ValueError: An image has no label, or a network no projection head.
    """
    unlabeled = [shards.names[row] for row in rows if shards.label_bytes(row) is None]
    check(
        not unlabeled,
        "pixels are drawn by their true class, so that all images need labels",
        unlabeled[:3],
        "Choose a labeled split with --split, or other --images.",
    )
    labels = [read_label(shards, row) for row in rows]
    pixels = draw_pixels(labels, len(networks[0].classes.names), per_class, np.random.default_rng(seed))
    features: list[list[np.ndarray]] = [[] for _ in networks]
    for i, row in enumerate(rows):
        for loaded, found in zip(networks, features, strict=True):
            image = read_sample(shards, row, loaded.config.data).image.to(distributed.local_device())
            map_ = feature_map(loaded.student, image, space)
            found.append(features_at(map_, *pixels.of_image(i), labels[i].shape))
        on_progress(i + 1, len(rows))
    return [np.concatenate(found) for found in features], pixels.label


def draw_selection(loaded: LoadedModel, of: Network, shards: Shards, row: int, share: float) -> Figure:
    """Segment one image, and draw which of its pixels are selected, see :func:`selection_figure`.

    A teacher is in the mode in which training selects: its batch norms take the statistics of the image. The running
    ones, which nothing in training reads, are those of an average of networks that never was.

    Args:
        loaded: A network in evaluation mode, in which it is left.
        of: Whose prediction it is, "teacher" or "student".
        shards: The split that has the image.
        row: Row of the image.
        share: eta, in (0, 1].
    """
    sample = read_sample(shards, row, loaded.config.data)
    image = sample.image.to(distributed.local_device())
    with teaching(loaded.student) if of == "teacher" else contextlib.nullcontext():
        scores = logits(loaded.student.segmenter, image, evaluation=loaded.config.evaluation)
    height, width = image.shape[2:]
    label = None if sample.label is None else transforms.resize_label(sample.label, (width, height))
    return selection_figure(
        photo(image, (height, width), loaded.config.data), scores, label, share, loaded.classes, of=of
    )
