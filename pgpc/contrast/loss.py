"""Pixel-wise InfoNCE (Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """InfoNCE of anchors against one positive per class and sampled negatives, the mean of all (Eq. 5).

    All features must be L2-normalised: their dot products are the cosine similarities of Eq. 5.

    Args:
        anchors: ``(K, M, D)`` features of M anchors of each of K classes.
        positives: ``(K, D)`` the prototype of each class.
        bank: ``(K, S, D)`` features that can be negatives of each class.
        index: ``(K, M, N)`` integers in [0, S): the N negatives of each anchor.
        temperature: tau > 0.

    Returns:
        Scalar, float32.

    Raises:
        ValueError: shapes that do not fit, or a temperature that is not positive.
    """
    return info_nce_terms(anchors, positives, bank, index, temperature).mean()


def info_nce_terms(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """The summands of :func:`info_nce`: ``(K, M)`` float32, one per anchor."""
    k, m, d = anchors.shape
    if positives.shape != (k, d) or bank.shape[::2] != (k, d) or index.shape[:2] != (k, m):
        raise ValueError(
            "info_nce takes anchors (K, M, D), positives (K, D), bank (K, S, D) and index (K, M, N), but got "
            f"{tuple(anchors.shape)}, {tuple(positives.shape)}, {tuple(bank.shape)} and {tuple(index.shape)}."
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, but got {temperature!r}.")
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, positives, bank = anchors.float(), positives.float(), bank.float()
        positive = torch.einsum("kmd,kd->km", anchors, positives) / temperature
        # One matrix of all similarities, then a choice of N columns per row: this never holds the M x N x D negatives.
        similarity = torch.bmm(anchors, bank.transpose(1, 2)) / temperature  # (K, M, S)
        negative = similarity.gather(2, index).logsumexp(dim=2)
        # -log(e^p / (e^p + sum e^n)) = log(1 + e^(logsumexp(n) - p))
        return F.softplus(negative - positive)
