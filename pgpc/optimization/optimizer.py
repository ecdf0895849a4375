"""The optimizer's parameter groups and the learning rate as a function of the iteration."""

from __future__ import annotations

import torch
from torch import nn

from pgpc.models.student import Student
from pgpc.optimization.config import OptimizerConfig

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def learning_rate(step: int, config: OptimizerConfig, iterations: int) -> float:
    """Return lr(t) = lr (1 - t/T)^power w(t), with the linear warmup w(t) = 1 - (1 - t/warmup)(1 - warmup_ratio).

    Args:
        step: t, counted from 0.
        config: Base learning rate and its schedule.
        iterations: T.

    Returns:
        The encoder's learning rate.
    """
    decay: float = (1 - step / iterations) ** config.power
    warmup = 1 - (1 - step / config.warmup) * (1 - config.warmup_ratio) if step < config.warmup else 1.0
    return config.lr * decay * warmup


def projection_factor(step: int, start: int, head_warmup: int) -> float:
    """Return what the projection head's learning rate is multiplied by, in (0, 1].

    Args:
        step: Iteration, counted from 0.
        start: First iteration in which the projection head learns.
        head_warmup: Iterations from `start` on over which the factor rises linearly to 1; 0 for 1 at once.
    """
    if head_warmup == 0:
        return 1.0
    return min(max(step - start + 1, 1) / head_warmup, 1.0)


def make_optimizer(student: Student, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return AdamW or SGD over four groups: encoder, its normalization layers, decoder and projection head.

    The last two have the larger learning rate, and the decoder's has a plain transformer's pyramid, too; without a
    projection head there are three groups.
    AdamW does not decay the encoder's normalization layers, SGD decays all: each as its own papers do.

    Args:
        student: The network whose parameters are optimized.
        config: Algorithm and its settings.
    """
    encoder = student.segmenter.encoder
    # A plain transformer's pyramid begins at random, as the decoder does.
    pyramid: nn.Module | None = getattr(encoder, "pyramid", None)
    new = [] if pyramid is None else list(pyramid.parameters())
    pretrained = [p for p in encoder.parameters() if all(p is not q for q in new)]
    norms = {id(p) for m in encoder.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    decoder = [*student.segmenter.decode_head.parameters(), *new]
    groups = [
        {"name": "encoder", "params": [p for p in pretrained if id(p) not in norms], "factor": 1.0},
        {"name": "norms", "params": [p for p in pretrained if id(p) in norms], "factor": 1.0},
        {"name": "decoder", "params": decoder, "factor": config.head_factor},
    ]
    if student.projection is not None:
        projection = list(student.projection.parameters())
        groups.append({"name": "projection", "params": projection, "factor": config.head_factor})
    if config.algorithm == "sgd":
        # Not fused: that fails where only some parameters of a group have momentum, as once the projection head joins.
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    groups[1]["weight_decay"] = 0.0
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float, projection: float = 1.0) -> None:
    """Set the learning rates of all groups.

    Args:
        optimizer: Optimizer of :func:`make_optimizer`.
        lr: The encoder's learning rate, of which the heads have their multiple.
        projection: What that of the projection head is multiplied by once more.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"] * (projection if group["name"] == "projection" else 1.0)
