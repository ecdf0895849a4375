"""The memory of pixel features: one ring buffer per class (M_c of Eq. 9, and the external memory of section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureBank(nn.Module):
    """First-in, first-out store of L2-normalised features, a fixed number of rows per class.

    Its content lives in buffers, so it moves with ``.to(device)`` and is saved with ``state_dict()``.

    Args:
        num_classes: C.
        size: S, rows kept per class.
        dim: D, length of a feature.
    """

    rows: Tensor
    """``(C, S, D)`` the features; rows at or beyond `filled` are zero."""
    filled: Tensor
    """``(C,)`` how many rows of each class hold a feature, 0..S."""
    cursor: Tensor
    """``(C,)`` the row of each class that is written next, 0..S-1."""

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_classes, size, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer("cursor", torch.zeros(num_classes, dtype=torch.long))

    @torch.no_grad()
    def push(self, features: Tensor, count: Tensor) -> None:
        """Add the first `count` features of every class, overwriting the oldest.

        Args:
            features: ``(C, Q, D)`` with Q <= S.
            count: ``(C,)`` how many of the Q are meant, 0..Q; the others are not read.
        """
        size, num = self.rows.shape[1], features.shape[1]
        assert num <= size, f"cannot push {num} rows into a bank of {size}"
        ordinal = torch.arange(num, device=features.device)
        slot = (self.cursor[:, None] + ordinal) % size  # (C, Q), all different within a class
        wanted = (ordinal < count[:, None])[..., None]
        slot_D = slot[..., None].expand_as(features)
        # Unwanted rows write back what is there: the shapes stay fixed, and the host needs to know no count.
        self.rows.scatter_(1, slot_D, torch.where(wanted, features.to(self.rows.dtype), self.rows.gather(1, slot_D)))
        self.cursor.copy_((self.cursor + count) % size)
        self.filled.copy_((self.filled + count).clamp(max=size))

    def prototypes(self) -> Tensor:
        """The mean feature of each class (Eq. 9).

        Returns:
            ``(C, D)``; zero for a class with no row. The mean of unit vectors is shorter than one.
        """
        # Rows not yet filled are zero, so the plain sum is the sum over the filled ones.
        return self.rows.sum(dim=1) / self.filled.clamp(min=1)[:, None]
