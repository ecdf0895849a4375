"""Scoring: counting the pixels of labeled images by label and prediction."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, ClassSet
from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.calibration import Calibration
from pgpc.evaluation.scores import Metrics
from pgpc.evaluation.segmentation import WHOLE, class_and_probability, logits, most_probable
from pgpc.runtime import distributed


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
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    was_training = model.training
    model.eval()
    try:
        for image, label, name in samples:
            scores = logits(model, image.to(device), evaluation=evaluation)
            on_device = torch.from_numpy(label).to(device).long()
            if calibration is None:
                predicted = most_probable(scores, label.shape, bool(model.align_corners))[0]
            else:
                predicted, probability = class_and_probability(scores, label.shape, bool(model.align_corners))
            confusion += _count(on_device, predicted, num_classes, name)
            if calibration is not None:
                calibration.add(
                    probability[on_device != IGNORE_INDEX], (predicted == on_device)[on_device != IGNORE_INDEX]
                )
    finally:
        model.train(was_training)
    if calibration is not None:
        calibration.gather()
    return Metrics(distributed.all_reduce_sum(confusion).cpu().numpy(), classes)


def _count(label: Tensor, predicted: Tensor, num_classes: int, name: str) -> Tensor:
    """Return ``(C, C)`` pixels of one image by label and prediction, without those that are ignored."""
    # 256 columns, since anything else would count ids that are none of the classes in place of others.
    counts = torch.bincount((label * 256 + predicted).flatten(), minlength=256 * 256).view(256, -1)
    counts[IGNORE_INDEX] = 0
    inside = counts[:num_classes, :num_classes].clone()
    if inside.sum() != counts.sum():
        raise ValueError(
            f"Labels and predictions must be ids below the number of classes ({num_classes}), but those of {name!r} "
            "have others. Give the classes that both model and labels have."
        )
    return inside
