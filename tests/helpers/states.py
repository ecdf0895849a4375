"""What a checkpoint holds, compared bit for bit."""

from __future__ import annotations

from typing import Any

import torch


def equal(a: Any, b: Any) -> bool:
    """Return whether two trees of tensors, mappings, sequences and plain values are the same to the last bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)
