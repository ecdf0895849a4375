"""Small networks and images for them."""

from __future__ import annotations

import torch

from pgpc.models import ModelConfig, Segmenter, build_model


def build(**options) -> Segmenter:
    torch.manual_seed(0)
    return build_model(ModelConfig(**{"encoder": "mit_b0", "head_channels": 16, **options}))


def random_images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
