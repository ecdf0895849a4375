"""Batch norm over the images of all processes, on CPUs and GPUs alike.

Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", ICML 2015, Algorithm 1 and the gradients that follow it. torch.nn.SyncBatchNorm computes the same, but refuses
tensors on the CPU, and its forward pass waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pgpc.models.timm_names import is_of_timm
from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32

_PIXELS = (0, 2, 3)


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that in training takes the statistics of the pixels of all processes.

    All processes must give it equally many pixels. It needs one collective operation per forward pass and one per
    backward pass. In evaluation it is the layer that it takes the place of.

    Args:
        like: The layer it takes the place of; parameters and buffers are shared with it. What comes after the
            normalization in timm's BatchNormAct2d (dropping, then the activation) comes after it here too.
    """

    def __init__(self, like: nn.BatchNorm2d) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, like.track_running_stats)
        self.weight, self.bias = like.weight, like.bias
        self.running_mean, self.running_var = like.running_mean, like.running_var
        self.num_batches_tracked = like.num_batches_tracked
        self.train(like.training)
        for name, child in like.named_children():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a map.

        Args:
            x: Map ``(B, C, H, W)``.

        Returns:
            A map of the same shape and type.
        """
        if self.training and distributed.world_size() > 1:
            x, mean, variance = _Normalize.apply(x, self.weight, self.bias, self.eps)
            if self.track_running_stats:
                self._track(mean, variance, x.numel() // x.shape[1] * distributed.world_size())
        else:
            x = super().forward(x)
        for after in self.children():
            x = after(x)
        return x

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, num: int) -> None:
        """Move the running statistics towards those of a batch of `num` pixels; mean and variance are ``(C,)``."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_((variance * (num / (num - 1))).to(self.running_var.dtype), momentum)  # unbiased


class _Normalize(torch.autograd.Function):
    """Normalize by the mean and the biased variance over all processes; gives these, without gradient, too."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        # In float32 (a mean over 1e5 pixels means nothing in bfloat16); double stays double.
        own = torch.var_mean(at_least_float32(x), dim=_PIXELS, correction=0)
        variances, means = distributed.all_gather(torch.stack(own)).unbind(dim=1)  # (W, C) each
        mean = means.mean(dim=0)
        # The variance within the processes and that between them: both are sums of squares, so nothing cancels.
        variance = (variances + (means - mean).square()).mean(dim=0)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, scale = ctx.saved_tensors
        mean, scale = mean[:, None, None], scale[:, None, None]
        grad = grad.to(mean.dtype)
        normalized = (x - mean) * scale
        own = torch.stack([grad.sum(dim=_PIXELS), (grad * normalized).sum(dim=_PIXELS)])
        # The losses of all processes depend on this one's pixels through the statistics. The parameters' gradients
        # stay this process's own: whoever averages gradients over processes adds them up.
        num = x.numel() // x.shape[1] * distributed.world_size()
        grad_mean, grad_slope = (distributed.all_reduce_sum(own.clone()) / num)[..., None, None]
        grad_x = (grad - grad_mean - normalized * grad_slope) * scale
        if weight is None:
            return grad_x.to(x.dtype), None, None, None
        return (grad_x * weight[:, None, None]).to(x.dtype), own[1].to(weight.dtype), own[0].to(weight.dtype), None


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of all batch norms as they are for a while, whatever images a module sees.

    In training a batch norm still normalizes by the statistics of the batch at hand, as it does without this.

    Args:
        module: The module below which the batch norms are.
    """
    tracking = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True


def synchronize_batch_norm(module: nn.Module) -> None:
    """Let every 2D batch norm below `module` take its statistics over all processes.

    Layers are swapped in place; parameters, buffers and their names stay. A single process swaps nothing.

    Args:
        module: The module below which nn.BatchNorm2d and timm's BatchNormAct2d are swapped; other subclasses are left
            alone.
    """
    if distributed.world_size() == 1:
        return
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            known = type(child) is nn.BatchNorm2d or is_of_timm(child, "BatchNormAct2d")
            if known and isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, SynchronizedBatchNorm2d(child))
