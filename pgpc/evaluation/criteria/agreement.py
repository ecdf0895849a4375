"""Whether two predictions of the same pixels agree: by mIoU of one against the other."""

from __future__ import annotations

import torch
from torch import Tensor

from pgpc.classes import ClassSet
from pgpc.evaluation.scores import Metrics
from pgpc.runtime import distributed


class Agreement:
    """Counts of pixels by two predictions: memory does not grow with the images, and the counts are exact.

    The value is the mean over classes that either prediction has of the intersection over union, in percent. Two that
    are equal everywhere score 100, also where both find one class only: a network that has collapsed agrees with
    everything that has collapsed in the same way.

    Args:
        classes: The C classes.
        device: Where the counts are taken.
    """

    def __init__(self, classes: ClassSet, device: torch.device) -> None:
        self._classes = classes
        self._counts = torch.zeros(len(classes.names) ** 2, dtype=torch.long, device=device)

    def add(self, one: Tensor, other: Tensor) -> None:
        """Add the pixels of an image.

        Args:
            one: int64 train ids, of any shape.
            other: Those that they are compared with.
        """
        num_classes = len(self._classes.names)
        self._counts += torch.bincount((one * num_classes + other).flatten(), minlength=num_classes**2)

    def value(self) -> float:
        """Return the agreement over the images of all processes, each of which must call this; NaN without pixels."""
        counts = distributed.all_reduce_sum(self._counts.clone())
        num_classes = len(self._classes.names)
        return Metrics(counts.view(num_classes, num_classes).cpu().numpy(), self._classes).miou
