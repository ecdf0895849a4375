"""The optimiser's parameter groups and the learning rate as a function of the iteration."""

from __future__ import annotations

import torch
from torch import nn

from pgpc.config import OptimizerConfig
from pgpc.training.student import Student

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def learning_rate(step: int, config: OptimizerConfig, iterations: int) -> float:
    """lr(t) = lr (1 - t/T)^power w(t), with the linear warm-up w(t) = 1 - (1 - t/warmup)(1 - warmup_ratio).

    Args:
        step: t, 0-based.
        config: the base learning rate and its schedule.
        iterations: T.

    Returns:
        The encoder's learning rate.
    """
    decay = (1 - step / iterations) ** config.power
    warmup = 1 - (1 - step / config.warmup) * (1 - config.warmup_ratio) if step < config.warmup else 1.0
    return config.lr * decay * warmup


def make_optimizer(student: Student, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over three groups: encoder, its normalisation layers, and the heads (larger learning rate).

    AdamW does not decay the encoder's normalisation layers, SGD decays all: each as its own papers do.
    """
    encoder = student.segmenter.encoder
    norms = {id(p) for m in encoder.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    of_encoder = {id(p) for p in encoder.parameters()}
    groups = [
        {"params": [p for p in encoder.parameters() if id(p) not in norms], "factor": 1.0},
        {"params": [p for p in encoder.parameters() if id(p) in norms], "factor": 1.0},
        {"params": [p for p in student.parameters() if id(p) not in of_encoder], "factor": config.head_factor},
    ]
    if config.algorithm == "sgd":
        # Not fused: that fails where only some parameters of a group have momentum, as once the projection head joins.
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    groups[1]["weight_decay"] = 0.0
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the encoder's learning rate to `lr`, the heads' to its multiple."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
