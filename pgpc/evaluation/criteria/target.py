"""The criteria on images of the target: one pass over a fixed choice of them, whose labels are never read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pgpc.adaptation.mixing import perturb
from pgpc.classes import ClassSet
from pgpc.data.choices import choose_rows, image_generator
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.pixel_form import RGB
from pgpc.data.shards.reader import Shards
from pgpc.data.whole_images import whole_images
from pgpc.evaluation.criteria.agreement import Agreement
from pgpc.evaluation.criteria.certainty import Certainty
from pgpc.evaluation.criteria.mixval import MixVal, as_large, mixture
from pgpc.evaluation.criteria.neighborhoods import Neighborhoods
from pgpc.evaluation.criteria.stride_logits import stride_logits
from pgpc.evaluation.mode import evaluating
from pgpc.runtime import distributed

JITTER = 0.2
"""Strength of the color jitter of the copy that augmentation_agreement looks at, as
:func:`pgpc.adaptation.mixing.color_jitter` takes it. Not the run's own ``adaptation.jitter_strength``: all runs are to
be measured in one way."""

_PHOTOS = DataConfig()


class Networks(NamedTuple):
    """The networks of a run, which take images to logits as :func:`pgpc.evaluation.segmentation.predict` says.

    Attributes:
        student: The one that is measured.
        teacher: The one that it is compared with; None where there is none.
    """

    student: nn.Module
    teacher: nn.Module | None = None


class Place(NamedTuple):
    """A place in the choice of images.

    Attributes:
        row: Number of the image in its split.
        ends_pair: Whether it is mixed with the image at the place before.
    """

    row: int
    ends_pair: bool


def places(total: int, count: int, rank: int = 0, world_size: int = 1) -> list[Place]:
    """Return the images that one process measures, in their order.

    Which images there are and which two are a pair, the 1st and 2nd, the 3rd and 4th and so on, depends on neither the
    seed of a run nor the number of processes, of which each takes whole pairs.

    Args:
        total: Number of images of the split.
        count: Number of images to measure, all where there are fewer.
        rank: Number of the process, from 0.
        world_size: Number of processes.
    """
    rows = choose_rows(total, count, "criteria images")
    return [Place(row, i % 2 == 1) for i, row in enumerate(rows) if i // 2 % world_size == rank]


def target_criteria(
    networks: Networks, target: Shards, data: DataConfig, classes: ClassSet, *, evaluation: EvaluationConfig
) -> dict[str, float]:
    """Measure the criteria of the target on ``evaluation.criteria_images`` of its images.

    With several processes each takes its share of the images, which may be none, and all get the values of the whole.
    No label is read, no global random number is drawn, and the networks are left as they were, their modes and running
    statistics included. Of the latter all processes use those of process 0.

    Args:
        networks: The networks, on one device.
        target: The split of which images are taken.
        data: What the images are made into.
        classes: The C classes of the networks.
        evaluation: How images are segmented, and how many are measured.

    Returns:
        By name what can be measured, see :data:`pgpc.evaluation.criteria.table.CRITERIA`; finite numbers.
    """
    rank, world_size = distributed.rank(), distributed.world_size()
    own = places(len(target), evaluation.criteria_images, rank, world_size)
    with contextlib.ExitStack() as stack:
        for network in networks:
            if network is not None:
                stack.enter_context(distributed.shared_buffers(network))
                stack.enter_context(evaluating(network))
        meters = TargetMeters(networks, classes, evaluation, data)
        for place, image in zip(own, measured_images(target, data, own), strict=True):
            meters.add(image, place)
        return meters.values()


def measured_images(target: Shards, data: DataConfig, own: Sequence[Place]) -> Iterator[Tensor]:
    """Return an iterator over the images at these places, normalized, each ``(1, 3, h, w)``; no label is read."""
    rows = [place.row for place in own]
    return (sample.image for sample in whole_images(target, data, data.target_size, labeled=False, rows=rows))


class TargetMeters:
    """What is counted and summed while images of the target go by; see :func:`target_criteria` for the arguments."""

    def __init__(
        self, networks: Networks, classes: ClassSet, evaluation: EvaluationConfig, data: DataConfig = _PHOTOS
    ) -> None:
        self._networks, self._evaluation, self._normalization = networks, evaluation, data.normalization
        # Colors are those of photos: other images are compared with copies that are blurred and mirrored alone.
        self._jitter = JITTER if data.pixels == RGB else 0.0
        device, num_classes = next(networks.student.parameters()).device, len(classes.names)
        self._device = device
        self._certainty = Certainty(num_classes, device)
        self._neighborhoods = Neighborhoods(num_classes, device)
        self._with_teacher = Agreement(classes, device)
        self._with_copy = Agreement(classes, device)
        self._mixval = MixVal(device)
        self._first: tuple[Tensor, Tensor] | None = None  # image and logits that the next are mixed with

    @torch.inference_mode()
    def add(self, image: Tensor, place: Place) -> None:
        """Measure one image; the networks must be in evaluation mode.

        Args:
            image: One normalized image ``(1, 3, h, w)``.
            place: Its place in the choice; that before it, where it ends a pair, must have been the last call's.
        """
        image = image.to(self._device)
        found = self._logits(self._networks.student, image)
        ids = found.argmax(dim=0)
        self._certainty.add(found)
        self._neighborhoods.add(found, image_generator("criteria pixels", place.row))
        rngs = [image_generator("criteria copies", place.row)]
        copy = perturb(image, jitter=self._jitter, blur=True, rngs=rngs, normalization=self._normalization)
        self._with_copy.add(ids, self._logits(self._networks.student, copy.flip(3)).flip(2).argmax(dim=0))
        if self._networks.teacher is not None:
            self._with_teacher.add(ids, self._logits(self._networks.teacher, image).argmax(dim=0))
        if not place.ends_pair:
            self._first = image, found
        else:
            assert self._first is not None, "the first of a pair comes before the second"
            self._add_mixture(*self._first, image, found)
            self._first = None

    def values(self) -> dict[str, float]:
        """Return what can be measured over the images of all processes, each of which must call this."""
        found: dict[str, float | None] = {
            **self._certainty.values(),
            **self._neighborhoods.values(),
            "teacher_agreement": self._with_teacher.value(),
            "augmentation_agreement": self._with_copy.value(),
            "mixval": self._mixval.value(),
        }
        return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}

    def _add_mixture(self, first: Tensor, first_logits: Tensor, second: Tensor, second_logits: Tensor) -> None:
        mixed = self._logits(self._networks.student, mixture(first, second)).argmax(dim=0)
        self._mixval.add(first_logits.argmax(dim=0), as_large(second_logits, first_logits).argmax(dim=0), mixed)

    def _logits(self, network: nn.Module, image: Tensor) -> Tensor:
        return stride_logits(network, image, self._evaluation)
