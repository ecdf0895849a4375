"""Checkpoints and images for the figures: what is compared, under which names, and on which rows of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from torch import Tensor

from pgpc.bases.state import CHECKPOINT
from pgpc.data import transforms
from pgpc.data.config import DataConfig
from pgpc.data.loader import read_image, read_label
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.loaded_model import Trained, load_trained
from pgpc.evaluation.segmentation import logits, predict
from pgpc.figures.canvas import photo
from pgpc.figures.comparison import Compared, evenly_spaced
from pgpc.figures.embedding import Space, draw_pixels, feature_map, features_at
from pgpc.figures.selection import selection_figure
from pgpc.runtime import distributed
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Sample(NamedTuple):
    """One image of a split.

    Attributes:
        image: ``(1, 3, h, w)`` float32, normalized, resized as in evaluation.
        label: ``(H, W)`` uint8 train ids at native size, or None.
        size: native height and width.
    """

    image: Tensor
    label: np.ndarray | None
    size: tuple[int, int]


def load_networks(paths: Sequence[Path], network: Literal["student", "teacher"]) -> list[Trained]:
    """Read several networks, onto the device of this process.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: one cannot be read, or they do not tell the same classes apart.
    """
    networks = [load_trained(path, network) for path in paths]
    first = networks[0]
    for other in networks[1:]:
        if other.classes.names != first.classes.names:
            raise ValueError(
                f"All networks must tell the same classes apart, but {first.file} has "
                f"{', '.join(first.classes.names)} and {other.file} has {', '.join(other.classes.names)}. "
                "Draw them in figures of their own."
            )
    for trained in networks:
        trained.student.to(distributed.local_device())
    return networks


def load_selecting(path: Path, network: Literal["student", "teacher"] | None) -> tuple[Trained, str]:
    """Read the network that selects pixels, the teacher where there is one, and say which it is.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it cannot be read, or has no such network.
    """
    if network is None:
        try:
            return load_networks([path], "teacher")[0], "teacher"
        except ValueError:  # of a file that is damaged, reading the student says so too
            network = "student"
    return load_networks([path], network)[0], network


def check_data(networks: Sequence[Trained], shards: Shards) -> None:
    """Refuse labels that are not of the networks' classes.

    Raises:
        ValueError: the split is labeled with other classes.
    """
    theirs, ours = shards.classes.names, networks[0].classes.names
    if shards.num_labeled and theirs != ours:
        raise ValueError(
            f"Images must be labeled with the networks' classes, but {shards.folder} has {', '.join(theirs)} and "
            f"{networks[0].file} has {', '.join(ours)}. Choose data with the networks' classes."
        )


def titles_of(paths: Sequence[Path]) -> list[str]:
    """The shortest names that tell runs apart: the run's folder, with as many folders above it as are needed.

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
    """The row of an image, given by its name or by its number.

    Raises:
        ValueError: there is neither.
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
    """One number: so many rows, evenly spaced over the split. Otherwise the rows of names.

    Raises:
        ValueError: a name that is none, or no image at all.
    """
    if len(images) == 1 and images[0].isdecimal() and images[0] not in shards.names:
        check(int(images[0]) > 0, "--images must be at least 1", images[0])
        return evenly_spaced(len(shards), int(images[0]))
    return [find_row(shards, name) for name in images]


def read_sample(shards: Shards, row: int, data: DataConfig) -> Sample:
    """Read one image, and its label where it has one.

    Raises:
        SampleError: it cannot be read; the message names it.
    """
    pixels = read_image(shards, row)
    image = transforms.whole_image(pixels, data.target_size, data.fit, data.interpolation)
    label = read_label(shards, row) if shards.label_bytes(row) is not None else None
    return Sample(image, label, pixels.shape[:2])


def compare(networks: Sequence[Trained], shards: Shards, row: int) -> Compared:
    """Segment one image with several networks, each as in its own evaluation, at its native size."""
    predictions = []
    for trained in networks:
        sample = read_sample(shards, row, trained.config.data)
        model, evaluation = trained.student.segmenter, trained.config.evaluation
        prediction = predict(model, sample.image.to(distributed.local_device()), sample.size, evaluation=evaluation)
        predictions.append(prediction.byte().cpu().numpy())
    return Compared(photo(sample.image, sample.size), predictions, sample.label)


def pixel_features(
    networks: Sequence[Trained],
    shards: Shards,
    rows: Sequence[int],
    space: Space,
    *,
    per_class: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[list[np.ndarray], np.ndarray]:
    """The features of the same pixels in each network, equally many pixels of each class.

    Args:
        networks: in evaluation mode.
        shards: a split; all of `rows` must have labels.
        rows: of the images.
        space: which features, see :func:`pgpc.figures.embedding.feature_map`.
        per_class: number of pixels.
        seed: of their draw.
        on_progress: called with (images done, images in all).

    Returns:
        ``(P, D)`` features for each network, and ``(P,)`` train ids.

    Raises:
        ValueError: an image without label, or a network without projection head.
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
        for trained, found in zip(networks, features, strict=True):
            image = read_sample(shards, row, trained.config.data).image.to(distributed.local_device())
            map_ = feature_map(trained.student, image, space)
            found.append(features_at(map_, *pixels.of_image(i), labels[i].shape))
        on_progress(i + 1, len(rows))
    return [np.concatenate(found) for found in features], pixels.label


def draw_selection(trained: Trained, of: str, shards: Shards, row: int, share: float) -> Figure:
    """Segment one image, and draw which of its pixels are selected, see :func:`selection_figure`.

    Args:
        trained: in evaluation mode.
        of: whose prediction it is, "teacher" or "student".
        shards: a split.
        row: of the image.
        share: eta, in (0, 1].
    """
    sample = read_sample(shards, row, trained.config.data)
    image = sample.image.to(distributed.local_device())
    scores = logits(trained.student.segmenter, image, evaluation=trained.config.evaluation)
    height, width = image.shape[2:]
    label = None if sample.label is None else transforms.resize_label(sample.label, (width, height))
    return selection_figure(photo(image, (height, width)), scores, label, share, trained.classes, of=of)
