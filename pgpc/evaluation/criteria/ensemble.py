"""How far each of several networks agrees with all of them together; for when all have been trained.

EnsV, Hu et al., "Towards Reliable Model Selection for Unsupervised Domain Adaptation", NeurIPS 2024, chooses between
trained networks by their agreement with the ensemble of them. Theirs is for classification of images, by accuracy; here
each pixel is a sample, and the agreement is mIoU.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pgpc.classes import ClassSet
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.criteria.agreement import Agreement
from pgpc.evaluation.criteria.mixval import as_large
from pgpc.evaluation.criteria.stride_logits import stride_logits
from pgpc.evaluation.criteria.target import measured_images, places
from pgpc.evaluation.mode import evaluating

_CPU = torch.device("cpu")


class Voter(NamedTuple):
    """A network that is one of the ensemble.

    Attributes:
        name: What it is called in errors.
        network: The network, on the device that is to work; it is left as it was.
        data: What the images are made into for it.
        evaluation: How images are segmented with it.
    """

    name: str
    network: nn.Module
    data: DataConfig
    evaluation: EvaluationConfig


def ensemble_agreement(
    voters: Iterable[Voter], target: Shards, count: int, classes: ClassSet, *, scratch: Path
) -> list[float]:
    """Return the agreement of each network with the role model, in the order of the networks.

    The role model's class of a pixel is the arg-max of the mean of all networks' class probabilities. A network's
    score is the mIoU in percent of its own classes against the role model's, over classes that either finds, at the
    stride of the output. One network by itself, and networks that are all equal, score 100; so do networks that have
    all collapsed in the same way, and one that errs as most do is taken for the best.

    Networks are asked for one after the other, each once, and none is held longer than that, so that the memory needed
    is that of one network and one image, however many there are of either. What is remembered lies in `scratch`: of a
    pixel a sum of probabilities, 4 C bytes, and a byte for its class by each network and by the role model. With 16
    images of Cityscapes' sizes that is 40 MB, and half a megabyte a network.

    No label is read and no global random number is drawn.

    Args:
        voters: The networks. The first one's output sets the size that those of others are brought to, where they have
            another.
        target: The split of which images are taken, the same as for all other criteria of the target.
        count: Number of images, all where there are fewer; at least 1.
        classes: The C classes of the networks.
        scratch: An empty folder, on a disk.

    Raises:
        ValueError: A network gives numbers that are not finite.
    """
    own = places(len(target), count)
    num_voters = 0
    for voter in voters:
        images = measured_images(target, voter.data, own)
        with evaluating(voter.network):
            for i, image in enumerate(images):
                _vote(voter, image, scratch, i)
        num_voters += 1
        del voter, images  # before the next one is made
    for i in range(len(own) if num_voters else 0):
        np.save(_role(scratch, i), _sums(scratch, i).argmax(axis=0).astype(np.uint8))
    return [_score(scratch, len(own), voter, classes) for voter in range(num_voters)]


@torch.inference_mode()
def _vote(voter: Voter, image: torch.Tensor, scratch: Path, i: int) -> None:
    """Add a network's probabilities of an image to the sums, and its classes to those of the networks before it."""
    device = next(voter.network.parameters()).device
    found = stride_logits(voter.network, image.to(device), voter.evaluation)
    if not _sums_file(scratch, i).exists():
        np.save(_sums_file(scratch, i), np.zeros(tuple(found.shape), np.float32))
    sums = _sums(scratch, i, "r+")
    p = as_large(found, torch.empty(sums.shape, device="meta")).softmax(dim=0).float().cpu()
    if not bool(p.isfinite().all()):
        raise ValueError(f"The networks of an ensemble must give finite numbers, but {voter.name} does not.")
    sums += p.numpy()
    sums.flush()
    with _classes_file(scratch, i).open("ab") as file:
        file.write(p.argmax(dim=0).to(torch.uint8).numpy().tobytes())


def _score(scratch: Path, num_images: int, voter: int, classes: ClassSet) -> float:
    """Return the agreement of one network, by its number, with the role model over all images."""
    agreement = Agreement(classes, _CPU)
    for i in range(num_images):
        role = np.load(_role(scratch, i))
        own = np.fromfile(_classes_file(scratch, i), np.uint8, role.size, offset=voter * role.size)
        agreement.add(torch.from_numpy(own.astype(np.int64)), torch.from_numpy(role.ravel().astype(np.int64)))
    return agreement.value()


def _sums(scratch: Path, i: int, mode: str = "r") -> np.memmap:
    """Return the sums of probabilities of an image, ``(C, h, w)`` float32, which stay on the disk."""
    return np.lib.format.open_memmap(_sums_file(scratch, i), mode=mode)


def _sums_file(scratch: Path, i: int) -> Path:
    return scratch / f"sums-{i}.npy"


def _role(scratch: Path, i: int) -> Path:
    return scratch / f"role-model-{i}.npy"


def _classes_file(scratch: Path, i: int) -> Path:
    return scratch / f"classes-{i}.bin"
