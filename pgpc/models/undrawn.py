"""Networks whose first weights are about to be overwritten: drawing those takes longer than reading the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    torch.Tensor.erfinv_,  # what uniform numbers become normal by, which takes longest
    torch.nn.init.normal_,
    torch.nn.init.uniform_,
    torch.nn.init.kaiming_normal_,
    torch.nn.init.kaiming_uniform_,
    torch.nn.init.xavier_normal_,
    torch.nn.init.xavier_uniform_,
    torch.nn.init.trunc_normal_,
}


class without_draws(TorchFunctionMode):  # it is used as a context, as torch.no_grad is
    """A context in which tensors are not filled with random numbers, but keep whatever they have.

    Torch's generator stays where it is. All that would have been drawn must be overwritten afterwards: parameters that
    are missing from a state dict would be arbitrary.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, unless it draws; called by torch."""
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
