"""Small networks whose weights are saved and loaded."""

from __future__ import annotations

import torch

from pgpc.models import ModelConfig, Segmenter, build_model


def build_small(seed: int, **options) -> Segmenter:
    torch.manual_seed(seed)
    return build_model(ModelConfig(**{"encoder": "mit_b0", "head_channels": 8, "num_classes": 5, **options}))


def as_daformer(state: dict, prefix: str = "") -> dict:
    return {prefix + name.replace("encoder.", "backbone."): value for name, value in state.items()}


def equal_entries(a: Segmenter, b: Segmenter) -> dict[str, bool]:
    other = b.state_dict()
    return {name: torch.equal(value, other[name]) for name, value in a.state_dict().items()}
