"""Scoring: counting the pixels of labeled images by label and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, ClassSet
from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.calibration import Calibration
from pgpc.evaluation.scores import Metrics
from pgpc.evaluation.segmentation import WHOLE, class_and_probability, logits, most_probable
from pgpc.runtime import distributed

_IDS = 256
"""Ids that an uint8 label can have."""


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    samples: Iterable[tuple[Tensor, np.ndarray, str]],
    classes: ClassSet = CITYSCAPES,
    *,
    evaluation: EvaluationConfig = WHOLE,
    calibration: Calibration | None = None,
) -> Metrics:
    """Score a model in evaluation mode, at the native size of the labels.

    With several processes each gives its own share of the samples, which may be none, and all get the score of the
    whole. Counts are whole numbers and sum to the same in any order. Memory does not grow with the number of samples.

    Args:
        model: A network that takes images ``(B, 3, h, w)`` to logits ``(B, C, h/4, w/4)``, as
            :func:`pgpc.evaluation.segmentation.predict` takes it; its mode is restored afterwards.
        samples: One image ``(1, 3, h, w)``, its label ``(H, W)`` of train ids and its name at a time.
        classes: The C classes of the labels.
        evaluation: Whether images are segmented in windows, at several scales and mirrored, and how.
        calibration: Counts that the labeled pixels are added to, those of all processes; None counts none.

    Raises:
        ValueError: A label or a prediction is none of the classes.
    """
    device, num_classes = next(model.parameters()).device, len(classes.names)
    confusion = torch.zeros(_IDS, _IDS, dtype=torch.long, device=device)
    strange = torch.full((), -1, dtype=torch.long, device=device)  # number of the first image with other ids
    names: list[str] = []
    was_training = model.training
    model.eval()
    try:
        for image, label, name in samples:
            scores = logits(model, image.to(device, non_blocking=True), evaluation=evaluation)
            on_device = _on(device, label).long()
            if calibration is None:
                predicted = most_probable(scores, label.shape, bool(model.align_corners))[0]
            else:
                predicted, probability = class_and_probability(scores, label.shape, bool(model.align_corners))
            _count(confusion, on_device, predicted)
            outside = confusion[:IGNORE_INDEX].sum() > confusion[:num_classes, :num_classes].sum()
            strange = torch.where((strange < 0) & outside, len(names), strange)
            names.append(name)
            if calibration is not None:
                calibration.add(
                    probability[on_device != IGNORE_INDEX], (predicted == on_device)[on_device != IGNORE_INDEX]
                )
    finally:
        model.train(was_training)
    if calibration is not None:
        calibration.gather()
    _check_ids(int(strange), names, num_classes)
    inside = confusion[:num_classes, :num_classes].contiguous()
    return Metrics(distributed.all_reduce_sum(inside).cpu().numpy(), classes)


def _on(device: torch.device, label: np.ndarray) -> Tensor:
    """Return a label on a device; a GPU copies it while the host goes on."""
    held = torch.from_numpy(label)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)


def _count(confusion: Tensor, label: Tensor, predicted: Tensor) -> None:
    """Add the pixels of one image to ``(256, 256)`` counts by label and prediction.

    All ids have a place, since anything else would count those that are none of the classes in place of others. Not
    torch.bincount, for whose number of bins the host waits.
    """
    pair = (label * _IDS + predicted).flatten()
    confusion.view(-1).index_add_(0, pair, torch.ones_like(pair))


def _check_ids(strange: int, names: Sequence[str], num_classes: int) -> None:
    """Refuse labels and predictions that are none of the classes.

    Args:
        strange: Number of the first image that has some; negative for none.
        names: Names of the images.
        num_classes: C.
    """
    if strange >= 0:
        raise ValueError(
            f"Labels and predictions must be ids below the number of classes ({num_classes}), but those of "
            f"{names[strange]!r} have others. Give the classes that both model and labels have."
        )
