"""The memory bank of pixel features: one ring buffer per class (M_c of Eq. 9; the external memory of section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

UNIT = 2.0**-35
"""What the numbers of a sum are multiples of: far below the precision of a float32 near 1, and the 53 bits of a double
hold the sum of 2^18 unit vectors."""


class FeatureBank(nn.Module):
    """First-in, first-out store of L2-normalized features, a fixed number of rows per class.

    Its content lives in buffers, so it moves with ``.to(device)`` and is saved with ``state_dict()``.

    Args:
        num_classes: C, the number of classes.
        size: S, the number of rows kept per class.
        dim: D, the length of a feature.
    """

    rows: Tensor
    """The features ``(C, S, D)``; rows at or beyond `filled` are zero. Only `enqueue` may change them."""
    filled: Tensor
    """How many rows of each class hold a feature: ``(C,)``, 0..S."""
    cursor: Tensor
    """The row of each class that is written next: ``(C,)``, 0..S-1."""

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_classes, size, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer("cursor", torch.zeros(num_classes, dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, features: Tensor, count: Tensor) -> None:
        """Add the first `count` features of every class, overwriting the oldest.

        Args:
            features: Features ``(C, Q, D)`` with Q <= S.
            count: How many of the Q features of each class are added: ``(C,)``, 0..Q; the others are not read.
        """
        (classes, size, dim), num = self.rows.shape, features.shape[1]
        assert num <= size, f"cannot enqueue {num} rows in a bank of {size}"
        ordinal = torch.arange(num, device=features.device)
        slot = (self.cursor[:, None] + ordinal) % size  # (C, Q), all different within a class
        row = (slot + torch.arange(0, classes * size, size, device=slot.device)[:, None]).flatten()
        wanted = (ordinal < count[:, None])[..., None]
        flat = self.rows.view(-1, dim)
        old = flat.index_select(0, row).view(classes, num, dim)
        # Unwanted rows write back what is there: the shapes stay fixed, and the host needs to know no count.
        new = torch.where(wanted, features.to(old.dtype), old)
        flat.index_copy_(0, row, new.flatten(0, 1))
        self.cursor.copy_((self.cursor + count) % size)
        self.filled.copy_((self.filled + count).clamp(max=size))
        self._replaced(old, new)

    @torch.no_grad()
    def clear(self) -> None:
        """Forget all rows."""
        for buffer in self.buffers():
            buffer.zero_()

    def _replaced(self, old: Tensor, new: Tensor) -> None:
        """Take note of the rows that were overwritten and of what they are now, ``(C, Q, D)`` each."""


class PrototypeBank(FeatureBank):
    """A bank whose mean feature per class is known at any time, at a cost that does not depend on its size.

    The sum of the rows of each class is kept up to date as they come and go. Its summands are rounded to multiples of
    `UNIT`, whose sums are exact and do not depend on an order: as long as all features are finite it equals, bit for
    bit, the sum over the rows that are there, after any number of steps, on any device, and after a checkpoint, which
    holds the rows only. What is not finite stays in the sum, and ends the training that reads it.
    """

    sums: Tensor
    """The sum of the rows in multiples of `UNIT`: ``(C, D)``, double."""

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__(num_classes, size, dim)
        self.register_buffer("sums", torch.zeros(num_classes, dim, dtype=torch.double), persistent=False)

    def prototypes(self) -> Tensor:
        """Compute the mean feature of each class (Eq. 9), without reading a row.

        Returns:
            ``(C, D)``; zero for a class with no row. The mean of unit vectors is shorter than one.
        """
        return (self.sums * UNIT / self.filled.clamp(min=1)[:, None]).to(self.rows.dtype)

    def _replaced(self, old: Tensor, new: Tensor) -> None:
        self.sums.add_(_units(new).sub_(_units(old)).sum(dim=1))

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        super()._load_from_state_dict(*arguments, **keywords)
        self.sums.zero_()
        for part in self.rows.split(1024, dim=1):  # not all at once, or 64 bits of each number would be held
            self.sums.add_(_units(part).sum(dim=1))


def _units(rows: Tensor) -> Tensor:
    """Return rows in multiples of `UNIT`, double; a product with a power of two rounds nothing."""
    return (rows.double() * (1 / UNIT)).round_()
