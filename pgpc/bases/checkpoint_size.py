"""How large the checkpoints of a run are, without a network being made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor

from pgpc.bases.state import make_student
from pgpc.config import Config
from pgpc.contrast import PixelContrast
from pgpc.models.undrawn import without_draws

_MOMENTS = {"adamw": 2, "sgd": 1}  # tensors of a parameter's size that the optimizer keeps for each


def checkpoint_bytes(config: Config) -> int:
    """Return the bytes of a checkpoint of a run, but for less than a hundredth; with a distillation, a few hundredths.

    It holds the student, the teacher, the moments of the optimizer, and the memory bank; what a base remembers or
    trains besides is small. What of the encoder is not trained is left out where it is left out of checkpoints.

    Args:
        config: The config of the run.
    """
    plain = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=""))
    with torch.device("meta"), without_draws():
        student = make_student(plain)
        contrast = PixelContrast(config.contrast, config.model.num_classes) if config.contrast.enabled else None
    left_out = student.frozen_entries if config.model.leaves_out else set()
    weights = _bytes(value for name, value in student.state_dict().items() if name not in left_out)
    moments = _MOMENTS[config.optimizer.algorithm] * _bytes(p for p in student.parameters() if p.requires_grad)
    bank = _bytes(contrast.state_dict().values()) if contrast is not None else 0
    return weights * (1 + config.adaptation.enabled) + moments + bank


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
