"""Random tensors that can be drawn again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def generator(seed: int = 0) -> torch.Generator:
    """A generator in the state of a seed."""
    return torch.Generator().manual_seed(seed)


def unit(*shape: int, draws: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unit vectors along the last dimension; drawn by torch's global generator where no other is given."""
    return F.normalize(torch.randn(*shape, generator=draws, dtype=dtype), dim=-1)


def unit_map(*shape: int, seed: int = 0) -> Tensor:
    """A map ``(B, D, h, w)`` of unit vectors along its channels."""
    return F.normalize(torch.randn(*shape, generator=generator(seed)), dim=1)
