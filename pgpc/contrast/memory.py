"""The memory of pixel features: one ring buffer per class (M_c of Eq. 9, and the external memory of section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

UNIT = 2.0**-40
"""Of the fixed-point sums: far below the precision of a float32 near 1, and 64 bits hold the sum of 2^23 unit rows."""


class FeatureBank(nn.Module):
    """First-in, first-out store of L2-normalised features, a fixed number of rows per class.

    Its content lives in buffers, so it moves with ``.to(device)`` and is saved with ``state_dict()``.

    The sum of the rows of each class is kept up to date as they come and go. It is an integer, a multiple of `UNIT`:
    sums of integers are exact and do not depend on an order, so it equals, bit for bit, the sum over the rows that are
    there, after any number of steps, on any device, and after a checkpoint, which holds the rows only.

    Args:
        num_classes: C.
        size: S, rows kept per class.
        dim: D, length of a feature.
    """

    rows: Tensor
    """``(C, S, D)`` the features; rows at or beyond `filled` are zero. To be changed by `push` only."""
    filled: Tensor
    """``(C,)`` how many rows of each class hold a feature, 0..S."""
    cursor: Tensor
    """``(C,)`` the row of each class that is written next, 0..S-1."""
    sums: Tensor
    """``(C, D)`` the sum of the finite numbers in `rows`, in multiples of `UNIT`."""
    broken: Tensor
    """``(C, D)`` how many of the numbers are not finite."""

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_classes, size, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer("cursor", torch.zeros(num_classes, dtype=torch.long))
        for name in ("sums", "broken"):
            self.register_buffer(name, torch.zeros(num_classes, dim, dtype=torch.long), persistent=False)

    @torch.no_grad()
    def push(self, features: Tensor, count: Tensor) -> None:
        """Add the first `count` features of every class, overwriting the oldest.

        Args:
            features: ``(C, Q, D)`` with Q <= S.
            count: ``(C,)`` how many of the Q are meant, 0..Q; the others are not read.
        """
        (classes, size, dim), num = self.rows.shape, features.shape[1]
        assert num <= size, f"cannot push {num} rows into a bank of {size}"
        ordinal = torch.arange(num, device=features.device)
        slot = (self.cursor[:, None] + ordinal) % size  # (C, Q), all different within a class
        row = (slot + torch.arange(0, classes * size, size, device=slot.device)[:, None]).flatten()
        wanted = (ordinal < count[:, None])[..., None]
        flat = self.rows.view(-1, dim)
        old = flat.index_select(0, row).view(classes, num, dim)
        # Unwanted rows write back what is there: the shapes stay fixed, and the host needs to know no count.
        new = torch.where(wanted, features.to(old.dtype), old)
        flat.index_copy_(0, row, new.flatten(0, 1))
        for total, come, gone in zip((self.sums, self.broken), _sums(new), _sums(old), strict=True):
            total.add_(come - gone)
        self.cursor.copy_((self.cursor + count) % size)
        self.filled.copy_((self.filled + count).clamp(max=size))

    def prototypes(self) -> Tensor:
        """The mean feature of each class (Eq. 9); reads no row.

        Returns:
            ``(C, D)``; zero for a class with no row. The mean of unit vectors is shorter than one.
        """
        mean = self.sums.double() * UNIT / self.filled.clamp(min=1)[:, None]
        return torch.where(self.broken > 0, torch.nan, mean).to(self.rows.dtype)

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        super()._load_from_state_dict(*arguments, **keywords)
        self.sums.zero_()
        self.broken.zero_()
        for part in self.rows.split(1024, dim=1):  # not all at once, or 64 bits of each number would be held
            for total, value in zip((self.sums, self.broken), _sums(part), strict=True):
                total.add_(value)


def _sums(rows: Tensor) -> tuple[Tensor, Tensor]:
    """``(C, Q, D)`` -> twice ``(C, D)``: the sum in multiples of `UNIT`, and how many numbers are not finite."""
    # A product with a power of two rounds nothing; what is below the unit is cut off.
    units = rows.nan_to_num(0.0, 0.0, 0.0).mul_(1 / UNIT).long()
    return units.sum(dim=1), rows.isfinite().logical_not_().sum(dim=1)
