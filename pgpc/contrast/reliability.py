"""Which target pixels the teacher is sure of, and which classes it is sure a pixel does not belong to."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32


def entropy(logits: Tensor) -> Tensor:
    """Compute the entropy of the class distribution of each pixel (Eq. 7).

    Args:
        logits: Unnormalized scores ``(B, C, H, W)``.

    Returns:
        ``(B, H, W)`` in nats, in [0, log C]; at least float32.
    """
    log_p = at_least_float32(logits).log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def reliable(
    logits: Tensor,
    share: float,
    *,
    by: Literal["entropy", "confidence"] = "entropy",
    per: Literal["image", "batch", "class"] = "image",
) -> Tensor:
    """Find the pixels whose predictions are most certain (section 3.2, Table 7).

    All pixels are ranked, those in margins and padding included, which the caller leaves out of the result. The
    threshold gamma_t is set such that the fraction `share` of the scores lies strictly below it. Where several
    pixels tie at the threshold none of them is taken, so that a constant image has no reliable pixel; only within
    classes, and for a share of 1, ties do not matter.

    Args:
        logits: Unnormalized scores ``(B, C, H, W)`` of the teacher.
        share: eta, the fraction of pixels taken, in (0, 1].
        by: What ranks pixels: "entropy" takes the lowest entropies, "confidence" the highest maximum probabilities.
        per: What the fraction is of: the pixels of each "image", of all images of all processes ("batch"; every process
            must call, with logits of one shape), or those of each predicted "class" of each image.

    Returns:
        ``(B, H, W)`` bool.

    Raises:
        ValueError: `share`, `by` or `per` is not one of the above.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], but got {share!r}.")
    if by == "entropy":
        score = entropy(logits)
    elif by == "confidence":
        # The logarithm of what the other classes have over what the largest has falls as the largest probability
        # rises, but does not saturate where that is 1 in float32.
        largest, label = at_least_float32(logits).max(dim=1, keepdim=True)
        others = at_least_float32(logits).scatter(1, label, -math.inf).logsumexp(dim=1)
        score = others - largest[:, 0]
    else:
        raise ValueError(f"by must be 'entropy' or 'confidence', but got {by!r}.")

    b, h, w = score.shape
    if per == "image":
        return score < _threshold(score.reshape(b, h * w), share)[..., None]
    if per == "batch":
        return score < _threshold(distributed.all_gather(score).reshape(1, -1), share)
    if per == "class":
        group = logits.argmax(dim=1).reshape(b, h * w)
        return _lowest_per_group(score.reshape(b, h * w), group, logits.shape[1], share).reshape(b, h, w)
    raise ValueError(f"per must be 'image', 'batch' or 'class', but got {per!r}.")


def rank_negatives(probabilities: Tensor, r: int) -> Tensor:
    """Tell for which classes a target pixel is a negative (Eq. 11): those not among its `r` most probable ones.

    The order O of Eq. 11 counts from 0 for the most probable class to C-1 for the least.

    Args:
        probabilities: Probabilities ``(B, C, H, W)``; logits give the same result, since only their order counts.
        r: Number of top ranks that are spared, in [1, C-1].

    Returns:
        ``(B, C, H, W)`` bool: True where O(c) >= r, for exactly C - r classes of each pixel.

    Raises:
        ValueError: `r` is outside its range.
    """
    num_classes = probabilities.shape[1]
    if not 1 <= r < num_classes:
        raise ValueError(f"r must lie in [1, {num_classes - 1}] for {num_classes} classes, but got {r!r}.")
    top = probabilities.topk(r, dim=1).indices
    return torch.ones_like(probabilities, dtype=torch.bool).scatter_(1, top, False)


def _threshold(score: Tensor, share: float) -> Tensor:
    """Return what the `share` of each row's entries lies strictly below (gamma_t of Eq. 8).

    Args:
        score: Scores ``(G, P)`` of the P pixels of each of G groups.
        share: eta, in (0, 1].

    Returns:
        ``(G, 1)``.
    """
    num = score.shape[1]
    taken = round(share * num)
    if taken == num:
        return torch.full_like(score[:, :1], math.inf)
    return score.kthvalue(taken + 1, dim=1, keepdim=True).values


def _lowest_per_group(score: Tensor, group: Tensor, num_groups: int, share: float) -> Tensor:
    """Find the lowest `share` of the entries of each group of each row; ties are broken by position.

    Args:
        score: Scores ``(B, P)`` of the P pixels of each of B images.
        group: Groups ``(B, P)`` of the pixels, integers in [0, `num_groups`).
        num_groups: Number of groups.
        share: eta, in (0, 1].

    Returns:
        ``(B, P)`` bool.
    """
    order = score.argsort(dim=1, stable=True)
    order = order.gather(1, group.gather(1, order).argsort(dim=1, stable=True))  # by group, then by score
    group = group.gather(1, order)
    count = torch.zeros(*score.shape[:1], num_groups, dtype=torch.long, device=score.device)
    count.scatter_add_(1, group, torch.ones_like(group))
    first = count.cumsum(dim=1) - count
    position = torch.arange(group.shape[1], device=group.device) - first.gather(1, group)
    taken = position < (share * count).round().gather(1, group)
    return torch.zeros_like(taken).scatter_(1, order, taken)
