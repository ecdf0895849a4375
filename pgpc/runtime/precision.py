"""Precision of computations that must not be less exact than float32."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return a tensor of float64 as it is, and one of any other type as float32.

    Losses and statistics are computed so whatever precision the networks have, and in double precision where all else
    is.

    Args:
        x: Tensor of any shape.
    """
    return x if x.dtype == torch.float64 else x.float()
