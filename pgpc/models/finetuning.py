"""Ways to fine-tune an encoder: the whole, none of it, or low-rank matrices beside its linear layers (LoRA).

Source of the last: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, as :mod:`peft` has it:
a layer W x becomes W x + B A x, where A and B have few rows and columns and B begins at zero.

What is not trained is not written into checkpoints where it follows from a file of weights (``model.pretrained``): in
its place stands a digest, and the weights are read from that file again. The teacher shares it with the student.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from pgpc.models.config import ModelConfig
from pgpc.models.vit.plain import PlainEncoder
from pgpc.runtime.checks import check

DIGEST = "frozen_digest"
"""Name of the entry that stands in a network's state for what is not trained, ``(32,)`` uint8."""


def pretrained_part(encoder: nn.Module) -> nn.Module:
    """Return the part of an encoder that has published weights: of a plain vision transformer all but the pyramid."""
    return encoder.vit if isinstance(encoder, PlainEncoder) else encoder


def freeze(encoder: nn.Module, config: ModelConfig) -> None:
    """Leave to be trained of an encoder, which has its initial weights, what the config says.

    Args:
        encoder: The encoder; it is changed in place.
        config: The configuration of the network.

    Raises:
        ValueError: LoRA is asked for and the package is missing, or the encoder has no linear layers.
    """
    if config.finetuning == "whole":
        return
    part = pretrained_part(encoder)
    part.requires_grad_(False)
    if config.finetuning == "lora":
        _add_lora(part, config)


def _add_lora(part: nn.Module, config: ModelConfig) -> None:
    names = [name for name, module in part.named_modules() if isinstance(module, nn.Linear)]
    # timm computes some joint projections from their weights alone, with biases that it joins at each call.
    names = [name for name in names if not _is_read_by_weight(part, name)]
    check(
        bool(names),
        "model.finetuning must be 'whole' or 'frozen' for an encoder without linear layers",
        config.encoder,
        "Choose a transformer, for example 'mit_b5' or 'vit_base_patch14_dinov2'.",
    )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError(
            f"model.finetuning=lora needs the package peft, but it cannot be imported ({error}). Install it with "
            "pip install 'pgpc[lora]', or set model.finetuning=whole or frozen."
        ) from None
    one_of = "|".join(re.escape(name) for name in names)  # of a list, names that end so would match
    inject_adapter_in_model(LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=one_of), part)


def _is_read_by_weight(part: nn.Module, name: str) -> bool:
    parent = part.get_submodule(name.rpartition(".")[0])
    return name.endswith("qkv") and getattr(parent, "q_bias", None) is not None


def merge_lora(module: nn.Module) -> None:
    """Put one linear layer, whose weights are W + B A, in the place of each that has low-rank matrices beside it."""
    for name, layer in list(_lora_layers(module)):
        layer.merge()
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, layer.get_base_layer())


def _lora_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what has low-rank matrices beside it, without importing the package where there is nothing such."""
    for name, child in module.named_modules():
        if hasattr(child, "lora_A") and hasattr(child, "get_base_layer"):
            yield name, child


def frozen_names(encoder: nn.Module, config: ModelConfig) -> set[str]:
    """Return the names of what an encoder that was frozen keeps as it is, parameters and, where it is whole, buffers.

    Args:
        encoder: An encoder of :func:`freeze`.
        config: The configuration of the network.
    """
    if config.finetuning == "whole":
        return set()
    part = pretrained_part(encoder)
    prefix = "vit." if isinstance(encoder, PlainEncoder) else ""
    frozen = {name for name, parameter in part.named_parameters() if not parameter.requires_grad}
    if config.finetuning == "frozen":
        frozen |= set(part.state_dict())
    return {f"{prefix}{name}" for name in frozen}


def leave_out(module: nn.Module, names: set[str]) -> None:
    """Have a digest stand in a network's state for entries that follow from elsewhere, which are filled in when read.

    Args:
        module: The network, which has these entries already.
        names: The entries.
    """
    if not names:
        return

    def drop(network: nn.Module, entries: dict[str, Tensor], prefix: str, *_: object) -> None:
        if not all(f"{prefix}{name}" in entries for name in names):
            return  # low-rank matrices have been merged into them
        taken = {name: entries.pop(f"{prefix}{name}") for name in sorted(names)}
        entries[f"{prefix}{DIGEST}"] = _digest(taken)

    def fill(network: nn.Module, entries: MutableMapping[str, Any], prefix: str, *_: object) -> None:
        theirs = entries.pop(f"{prefix}{DIGEST}", None)
        if theirs is None:  # a state that has all
            return
        own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        taken = {name: own[name] for name in sorted(names)}
        if not torch.equal(theirs.cpu(), _digest(taken)):
            raise ValueError(
                "A network whose encoder is frozen must be read with the weights that it was trained with, but "
                "those of model.pretrained are others now. Put back the file, or name it with model.pretrained."
            )
        entries.update({f"{prefix}{name}": value.detach() for name, value in taken.items()})

    module.register_state_dict_post_hook(drop)
    module.register_load_state_dict_pre_hook(fill)


def _digest(entries: dict[str, Tensor]) -> Tensor:
    """Return the SHA-256 of entries in their order; zeros where there are no numbers."""
    found = hashlib.sha256()
    if any(value.is_meta for value in entries.values()):
        return torch.zeros(found.digest_size, dtype=torch.uint8)
    for name, value in entries.items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return torch.tensor(list(found.digest()), dtype=torch.uint8)
