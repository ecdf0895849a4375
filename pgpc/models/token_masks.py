"""Hidden patches of a plain vision transformer: a mask token stands in the place of their embeddings.

Source: VFM-UDA (Englert et al., "Exploring the Benefits of Vision Foundation Models for Unsupervised Domain
Adaptation", CVPR workshops 2024), which hides patches where MIC hides squares of pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class TokenMask(NamedTuple):
    """Which patches are hidden, and what stands in their place.

    Attributes:
        hidden: ``(B, h, w)`` bool, True where a patch is hidden, of the rows and columns of an encoder's tokens.
        token: ``(D,)``, what the embedding of a hidden patch is replaced by, before position embeddings are added.
    """

    hidden: Tensor
    token: Tensor


@contextlib.contextmanager
def hiding(vit: nn.Module, mask: TokenMask | None) -> Iterator[None]:
    """Replace the embeddings of hidden patches by the mask token, in all that is computed within.

    A hook, since timm's models take no argument for that; it is removed again, so that nothing else is changed.

    Args:
        vit: A transformer of timm, whose ``patch_embed`` makes embeddings ``(B, h, w, D)`` or ``(B, h * w, D)``.
        mask: The patches; None hides none.
    """
    if mask is None:
        yield
        return
    chosen, token = mask

    def replace(_: nn.Module, args: tuple[Tensor], embedded: Tensor) -> Tensor:
        hidden = chosen.reshape(*embedded.shape[:-1], 1)
        return torch.where(hidden, token.to(embedded.dtype), embedded)

    handle = vit.get_submodule("patch_embed").register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
