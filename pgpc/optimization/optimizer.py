"""The optimizer's parameter groups and the learning rate as a function of the iteration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pgpc.models.student import Student
from pgpc.models.vit.plain import PlainEncoder
from pgpc.optimization.config import OptimizerConfig
from pgpc.runtime.checks import check

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


def rate_after_warmup(step: int, config: OptimizerConfig, iterations: int) -> float:
    """Return a learning rate whose decay waits for the end of the warmup, as in VFM-UDA.

    It is lr w(t), where w rises linearly from warmup_ratio at t = 0 to 1 at t = warmup - 1, and lr (1 - t/T)^power from
    t = warmup on: at the end of the warmup it falls by warmup/T at once.

    Args:
        step: t, counted from 0.
        config: Base learning rate and its schedule.
        iterations: T.

    Returns:
        The encoder's learning rate.
    """
    if step >= config.warmup:
        decayed: float = config.lr * (1 - step / iterations) ** config.power
        return decayed
    return config.lr * (config.warmup_ratio + (1 - config.warmup_ratio) * step / max(config.warmup - 1, 1))


def make_optimizer(student: Student, config: OptimizerConfig, base: nn.Module | None = None) -> torch.optim.Optimizer:
    """Return AdamW or SGD over groups of parameters: the encoder's, its normalization layers', and those that are new.

    What is new begins at random and has the larger learning rate: the decoder with a plain transformer's pyramid, what
    a base trains beside, and the projection head, which comes last, so that the others have the same numbers without
    it. With `layer_decay` a plain transformer has two groups for each block. Groups without parameters are left out,
    but for the first two.
    AdamW does not decay the encoder's normalization layers unless it is told to, SGD decays all: each as its own papers
    do.

    Args:
        student: The network whose parameters are optimized.
        config: Algorithm and its settings.
        base: The base's own part of the state, whose parameters are optimized, too.

    Raises:
        ValueError: The rates are to fall from block to block, and the encoder is no plain vision transformer.
    """
    encoder = student.segmenter.encoder
    # A plain transformer's pyramid begins at random, as the decoder does.
    pyramid: nn.Module | None = getattr(encoder, "pyramid", None)
    new = {"decoder": [*student.segmenter.decode_head.parameters(), *_parameters(pyramid)], "base": _parameters(base)}
    new["projection"] = _parameters(student.projection)
    groups = _encoder_groups(student, config)
    groups += [
        {"name": name, "params": _trained(parameters), "factor": config.head_factor}
        for name, parameters in new.items()
        if _trained(parameters)
    ]
    if config.algorithm == "sgd":
        # Not fused: that fails where only some parameters of a group have momentum, as once the projection head joins.
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    for group in groups:
        if group["name"].startswith("norms") and not config.decay_norms:
            group["weight_decay"] = 0.0
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def _encoder_groups(student: Student, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return the groups of what of the encoder is not new, from its first layer to its last."""
    encoder = student.segmenter.encoder
    norms = {id(p) for m in encoder.modules() if isinstance(m, _NORMS) for p in m.parameters(recurse=False)}
    new = {id(p) for p in _parameters(getattr(encoder, "pyramid", None))}
    layers: dict[int, list[nn.Parameter]] = {}
    depth = _depth(encoder, config)
    named = [(name, p) for name, p in encoder.named_parameters() if id(p) not in new]
    named += [] if student.mask_token is None else [("mask_token", student.mask_token)]
    for name, parameter in named:
        block = re.search(r"\bblocks\.(\d+)\.", name)
        layer = int(block[1]) + 1 if block is not None and depth else 0
        layers.setdefault(layer, []).append(parameter)
    groups = []
    lora = any(".lora_" in name for name, _ in named)
    for layer in range(depth + 1):
        factor = config.layer_decay ** (depth - layer) * (config.lora_factor if lora else 1)
        parameters, suffix = _trained(layers.get(layer, [])), f" {layer}" if depth else ""
        others = [p for p in parameters if id(p) not in norms]
        groups.append({"name": f"encoder{suffix}", "params": others, "factor": factor})
        groups.append({"name": f"norms{suffix}", "params": [p for p in parameters if id(p) in norms], "factor": factor})
    return groups


def _depth(encoder: nn.Module, config: OptimizerConfig) -> int:
    """Return the number of blocks that have rates of their own; 0 where all have one."""
    if config.layer_decay == 1:
        return 0
    check(
        isinstance(encoder, PlainEncoder),
        "optimizer.layer_decay must be 1 for an encoder that is no plain vision transformer",
        config.layer_decay,
        "Choose for example model.encoder=vit_base_patch14_dinov2.",
    )
    vit: Any = encoder.vit
    return len(vit.blocks)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def _trained(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float, projection: float = 1.0) -> None:
    """Set the learning rates of all groups.

    Args:
        optimizer: Optimizer of :func:`make_optimizer`.
        lr: The encoder's learning rate, of which the heads have their multiple.
        projection: What that of the projection head is multiplied by once more.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"] * (projection if group["name"] == "projection" else 1.0)
