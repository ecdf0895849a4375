"""Networks that compute in bfloat16 throughout, from weights in float32 that are cast all together, once a pass.

torch.autocast casts each weight by itself in every pass, the gradient of each in every backward pass, and a map for
each layer that reads it: half as many operators again as the network has. A GPU that waits for the host to launch them
is no faster for the lower precision. Here one operator casts a few megabytes of weights, and one their gradients, which
arrive at the weights in float32 and add up there. Maps stay in the lower precision from layer to layer, as under
autocast on a CPU; sums inside of layers (products, softmax, statistics) are in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_CHUNK = 2**23
"""Numbers that are cast at a time: the gradients of some are then averaged over processes while others are computed."""


class Slot(NamedTuple):
    """Where a weight hangs in a network.

    Attributes:
        owner: The module whose weight it is.
        name: Its name there.
    """

    owner: nn.Module
    name: str


def weight_slots(network: nn.Module) -> list[Slot]:
    """Return where the weights hang that are cast: all but those of batch norms, whose statistics are float32.

    Args:
        network: The network; its modules must stay those that they are.
    """
    return [
        Slot(module, name)
        for module in network.modules()
        if not isinstance(module, _BatchNorm)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.is_floating_point()
    ]


@contextlib.contextmanager
def weights_in(dtype: torch.dtype, slots: Sequence[Slot]) -> Iterator[None]:
    """Give a network copies of its weights in another type, through which gradients reach the weights themselves.

    Args:
        dtype: The type.
        slots: Where the weights hang.
    """
    # A parameter can be replaced by a tensor in this dictionary only; torch.func.functional_call does the same, and
    # takes milliseconds for it.
    weights = [slot.owner._parameters[slot.name] for slot in slots]
    cast = list(chain.from_iterable(_Cast.apply(dtype, *chunk) for chunk in _chunks(weights)))
    for (owner, name), low in zip(slots, cast, strict=True):
        owner._parameters[name] = low
    try:
        yield
    finally:
        for (owner, name), weight in zip(slots, weights, strict=True):
            owner._parameters[name] = weight


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of a network for good.

    Args:
        network: A network that is not trained.
        dtype: The type.
    """
    for owner, name in weight_slots(network):
        # Not in place: what is frozen is shared with the student, whose own weights stay as they are.
        low = owner.get_parameter(name).detach().to(dtype)
        owner.register_parameter(name, nn.Parameter(low, requires_grad=False))


def show_in_type_of_weights(encoder: nn.Module) -> None:
    """Let an encoder cast images to the type that its weights have at that time.

    Args:
        encoder: The encoder.
    """
    encoder.register_forward_pre_hook(_like_weights)


def _like_weights(encoder: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    found = (weight for module in encoder.modules() for weight in module._parameters.values() if weight is not None)
    return (args[0].to(next(found).dtype),)


def _chunks(weights: Sequence[Any]) -> Iterator[list[Tensor]]:
    """Split weights into lists of about `_CHUNK` numbers, in their order."""
    chunk: list[Tensor] = []
    held = 0
    for weight in weights:
        if chunk and held + weight.numel() > _CHUNK:
            yield chunk
            chunk, held = [], 0
        chunk.append(weight)
        held += weight.numel()
    if chunk:
        yield chunk


def _laid_out(gradient: Tensor, shape: torch.Size, stride: tuple[int, ...]) -> Tensor:
    """Return a gradient with the strides of its weight where they differ in dimensions of one number only.

    A list of tensors is copied by one operator as long as all strides are those of where they go.
    """
    own = gradient.stride()
    if own == stride or any(a != b for a, b, size in zip(own, stride, shape, strict=True) if size > 1):
        return gradient
    return gradient.as_strided(shape, stride)


class _Cast(torch.autograd.Function):
    """Cast tensors by one operator, and their gradients back by another one."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.like = [(weight.shape, weight.stride(), weight.dtype) for weight in weights]
        low = [torch.empty_like(weight, dtype=dtype) for weight in weights]
        torch._foreach_copy_(low, list(weights))
        return tuple(low)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [(g, *like) for g, like in zip(gradients, ctx.like, strict=True) if g is not None]
        # With the strides of the weights, which a gradient of another layout need not have: so nothing copies it again.
        high = [torch.empty_strided(shape, stride, dtype=dtype, device=g.device) for g, shape, stride, dtype in given]
        if high:
            torch._foreach_copy_(high, [_laid_out(g, shape, stride) for g, shape, stride, _ in given])
        cast = iter(high)
        return (None, *(None if g is None else next(cast) for g in gradients))
