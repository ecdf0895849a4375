"""Stochastic depth."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """A residual path that is left out in training, of each image at random.

    Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. What is kept is scaled up, so that in
    evaluation nothing is to be scaled.

    Args:
        rate: Probability with which it is left out, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, ...)`` to the same shape; in training some of the B are 0."""
        if not self.training or self.rate == 0:
            return x
        kept = 1 - self.rate
        return x * x.new_empty((len(x), *[1] * (x.ndim - 1))).bernoulli_(kept).div_(kept)

    def extra_repr(self) -> str:
        """Return what torch prints of it."""
        return f"{self.rate:.3f}"
