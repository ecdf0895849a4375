"""Pixel-wise InfoNCE (Eq. 5), without ever holding the M x N x D negatives.

Letters of shapes: K classes, M anchors of each, N negatives of an anchor, S rows that they are drawn from, D numbers of
a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.contrast.products import drawn_products, rows_of
from pgpc.runtime.precision import at_least_float32

ALL_PRODUCTS = {"cpu": 4, "cuda": 16}
"""Up to this many rows of the bank per negative of an anchor, one matrix product with all rows is computed and the
negatives are picked from it: as far as that pays, by measurement on a CPU and by arithmetic on a GPU."""


def info_nce(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE of anchors against one positive each and sampled negatives, the mean of all (Eq. 5).

    All features must be L2-normalized: their dot products are the cosine similarities of Eq. 5.

    Args:
        anchors: Features ``(K, M, D)`` of the anchors.
        positives: Prototypes ``(K, D)`` of the classes, or a positive of each anchor, ``(K, M, D)``.
        bank: Features ``(K, S, D)`` that can be negatives of each class.
        index: Integers in [0, S): the negatives of each anchor, ``(K, M, N)``; or those that all anchors of a class
            share, ``(K, N)``, which is far cheaper.
        temperature: tau > 0.

    Returns:
        A scalar, at least float32.

    Raises:
        ValueError: The shapes do not fit, or the temperature is not positive.
    """
    return info_nce_terms(anchors, positives, bank, index, temperature).mean()


def info_nce_terms(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """Compute the summands of :func:`info_nce`, one per anchor: ``(K, M)``, at least float32."""
    k, m, d = anchors.shape
    if (
        positives.shape not in ((k, d), (k, m, d))
        or bank.dim() != 3
        or bank.shape[::2] != (k, d)
        or index.shape[:-1] not in ((k, m), (k,))
    ):
        raise ValueError(
            "info_nce takes anchors (K, M, D), positives (K, D) or (K, M, D), bank (K, S, D) and index (K, M, N) or "
            f"(K, N), but got {tuple(anchors.shape)}, {tuple(positives.shape)}, {tuple(bank.shape)} and "
            f"{tuple(index.shape)}."
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, but got {temperature!r}.")
    if index.dim() == 2:
        return terms(*similarities(anchors, positives, rows_of(bank, index), temperature))
    if bank.shape[1] <= ALL_PRODUCTS.get(anchors.device.type, 0) * index.shape[2]:
        positive, similarity = similarities(anchors, positives, bank, temperature)
        return terms(positive, similarity.gather(2, index))
    with torch.autocast(anchors.device.type, enabled=False):
        anchors = at_least_float32(anchors) / temperature
        products = drawn_products(anchors, at_least_float32(bank), index)
        return terms(_with_positive(anchors, at_least_float32(positives)), products)


def similarities(anchors: Tensor, positives: Tensor, bank: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Compute the exponents of Eq. 5, which are cosine similarities over tau.

    Args:
        anchors: Features ``(K, M, D)`` of the anchors.
        positives: Prototypes ``(K, D)``, or a positive of each anchor, ``(K, M, D)``.
        bank: Features ``(K, S, D)``.
        temperature: tau.

    Returns:
        The exponent of every anchor with its positive, ``(K, M)``, and with all of the bank, ``(K, M, S)``; at least
        float32 whatever the features are.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors = at_least_float32(anchors) / temperature  # rather than all the products
        with_bank = torch.bmm(anchors, at_least_float32(bank).transpose(1, 2))
        return _with_positive(anchors, at_least_float32(positives)), with_bank


def terms(positive: Tensor, negatives: Tensor, among: Tensor | None = None) -> Tensor:
    """Compute one summand of Eq. 5 per anchor.

    Args:
        positive: Exponents ``(K, M)`` of the anchors and their positives.
        negatives: Exponents ``(K, M, N)`` of the anchors and their negatives.
        among: Mask ``(K, N)``, bool: which of them are negatives of the class; None means all.

    Returns:
        ``(K, M)``; 0 where the class has no negative.
    """
    if among is not None:
        # Not -inf: the gradient of the logarithm of an empty sum is NaN.
        negatives = negatives.masked_fill(~among[:, None], torch.finfo(negatives.dtype).min)
    # -log(e^p / (e^p + sum e^n)) = log(1 + e^(logsumexp(n) - p))
    return F.softplus(negatives.logsumexp(dim=2) - positive)


def _with_positive(anchors: Tensor, positives: Tensor) -> Tensor:
    of_positive = "kd" if positives.dim() == 2 else "kmd"
    return torch.einsum(f"kmd,{of_positive}->km", anchors, positives)
