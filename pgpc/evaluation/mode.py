"""Evaluation mode, or that of a teacher, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from pgpc.adaptation.teacher import teacher_mode
from pgpc.models.batch_norm import frozen_statistics


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; afterwards every module is in the mode that it was in.

    Args:
        network: The network.
    """
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def teaching(network: nn.Module) -> Iterator[None]:
    """Put a network into the mode of a teacher in training; afterwards every module is in the mode that it was in.

    Its running statistics stay as they are.

    Args:
        network: The network.
    """
    modes = {module: module.training for module in network.modules()}
    teacher_mode(network)
    try:
        with frozen_statistics(network):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
