"""Lovasz-softmax: a convex surrogate of 1 - IoU.

Berman et al., "The Lovasz-Softmax loss: a tractable surrogate for the optimization of the intersection-over-union
measure in neural networks", CVPR 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgpc.classes import IGNORE_INDEX
from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the Lovasz extension of the Jaccard loss, the mean over the classes that occur (Eqs. 8, 9, 11).

    The images of all processes are scored as one set of pixels. Each process computes the terms of its own pixels,
    times the number of processes: the mean over processes, which is that of their gradients too, is the loss of all.

    Args:
        logits: ``(B, C, H, W)`` at the size of the labels.
        labels: ``(B, H, W)`` train ids; ignored pixels do not count. Of the same shape on all processes.

    Returns:
        Scalar, over the processes on average in [0, 1]; exactly 0, connected to the graph, where no pixel is labeled.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None]
    labels = labels.flatten()
    own = labels == classes  # (C, P)
    probability = at_least_float32(logits).softmax(dim=1).transpose(0, 1).flatten(1)
    error = torch.where(own, 1 - probability, probability).where(labels != IGNORE_INDEX, 0.0)
    # The loss is linear in the errors as long as their order stays: its gradient is the weight of each.
    weight = torch.stack([_weights(e, o) for e, o in zip(error.detach(), own)])
    present = distributed.all_reduce_sum(own.any(dim=1).int()) > 0
    by_class = torch.where(present, (error * weight).sum(dim=1), 0.0)
    return by_class.sum() / present.sum().clamp(min=1) * distributed.world_size()


def _weights(error: Tensor, own: Tensor) -> Tensor:
    """Return by how much the Jaccard loss of a class grows with each pixel, from the worst on (Alg. 1).

    Args:
        error: ``(P,)`` of each pixel of this process; 0 on ignored ones.
        own: ``(P,)`` bool, the pixels of the class.

    Returns:
        ``(P,)``, of this process's pixels; those of all processes are ordered together, one class at a time, since
        the errors of all classes may be too many for the memory.
    """
    error, own = (distributed.all_gather(x).flatten() for x in (error, own))
    # Ignored pixels come among the last, where error and weight no longer matter to the pixels before them.
    order = error.argsort(descending=True)
    own = own[order]
    wrong_own = own.cumsum(dim=0)
    intersection = wrong_own[-1] - wrong_own
    union = wrong_own[-1] + (~own).cumsum(dim=0)
    # The differences 1 - I/U, in closed form: a pixel of the class leaves the intersection, another joins the union.
    # Subtracting neighbors instead would leave few digits, for they differ by about 1 / P.
    step = torch.where(own, 1 / union, intersection / (union * (union - 1).clamp(min=1)))
    return torch.empty_like(step).scatter_(0, order, step).view(distributed.world_size(), -1)[distributed.rank()]
