"""Dot products of anchors with rows drawn from a large bank, reading each drawn row where it lies.

The products of M anchors with N of S rows each are M N D multiplications, those with all rows S / N times as many; a
copy of the drawn rows is M x N x D numbers, gigabytes for a step of the paper. Both are avoided by the two kernels of
weighted sums of embeddings: the gradient with respect to the weights *is* the dot product of one vector per bag with
the rows drawn for it, and the sum itself is the gradient of these products.

Letters of shapes: K classes, M anchors of each, N negatives of an anchor, S rows that they are drawn from, D numbers of
a feature.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def rows_of(bank: Tensor, index: Tensor) -> Tensor:
    """Return rows of each class.

    Args:
        bank: Rows ``(K, S, D)``.
        index: Integers ``(K, N)`` in [0, S).

    Returns:
        ``(K, N, D)``.
    """
    k, s, d = bank.shape
    _check(index, s)
    row = index + torch.arange(0, k * s, s, device=index.device)[:, None]
    # Faster than bank[...], which knows nothing of whole rows.
    return bank.reshape(k * s, d).index_select(0, row.flatten()).view(k, -1, d)


def drawn_products(anchors: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Compute ``out[k, m, n] = anchors[k, m] . bank[k, index[k, m, n]]``, differentiable in anchors and bank.

    Args:
        anchors: Features ``(K, M, D)``, float32 or float64.
        bank: Rows ``(K, S, D)``, of the same type.
        index: Integers ``(K, M, N)`` in [0, S).

    Returns:
        ``(K, M, N)``, of the same type.
    """
    _check(index, bank.shape[1])
    products: Tensor = _DrawnProducts.apply(anchors, bank, index)
    return products


def _check(index: Tensor, size: int) -> None:
    """Refuse an index outside the bank: another class's row, or what lies beside it, would be read without a word.

    The host does not wait for the answer.
    """
    low, high = index.aminmax()
    torch._assert_async((low >= 0) & (high < size), f"The index of negatives must lie in [0, {size}), the bank's rows.")


class _DrawnProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, bank: Tensor, index: Tensor) -> Tensor:
        (k, m, d), s, n = anchors.shape, bank.shape[1], index.shape[2]

        def count(end: int, step: int = 1) -> Tensor:
            # 32 bits halve what is read beside the rows.
            return torch.arange(0, end, step, dtype=torch.int32, device=index.device)

        row = (index.int() + count(k * s, s)[:, None, None]).flatten()  # of the bank as (K * S, D)
        first = count(k * m * n, n)  # product of each anchor
        anchor = count(k * m)[:, None].expand(-1, n).flatten()  # of each product
        ctx.save_for_backward(anchors, bank, row, first)
        # No public function gives this without computing the sum too; 0 is the mode "sum".
        products: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            anchors.reshape(k * m, d), bank.reshape(k * s, d), row, first, anchor, 0
        )
        return products.view(k, m, n)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        anchors, bank, row, first = ctx.saved_tensors
        (k, m, n), (_, s, d) = gradient.shape, bank.shape
        of_anchors = of_bank = None
        if ctx.needs_input_grad[0]:
            weights = gradient.reshape(-1)
            of_anchors = F.embedding_bag(
                row, bank.reshape(k * s, d), first, mode="sum", per_sample_weights=weights
            ).view(k, m, d)
        if ctx.needs_input_grad[1]:  # never of the memory bank, which has no gradient
            index = row.view(k, m, n).long() - torch.arange(0, k * s, s, device=row.device)[:, None, None]
            of_all = gradient.new_zeros(k, m, s).scatter_add_(2, index, gradient)
            of_bank = torch.bmm(of_all.transpose(1, 2), anchors)
        return of_anchors, of_bank, None
