"""Which pixels the four ways of Table 7 select, and whether their pseudo-labels are right."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pgpc.classes import IGNORE_INDEX
from pgpc.contrast import reliable

WAYS: Mapping[str, tuple[Literal["entropy", "confidence"], Literal["image", "class"]]] = MappingProxyType(
    {
        "global entropy": ("entropy", "image"),
        "global confidence": ("confidence", "image"),
        "class-wise entropy": ("entropy", "class"),
        "class-wise confidence": ("confidence", "class"),
    }
)
"""The ways of Table 7: by what pixels are ranked, and among which others."""


@torch.no_grad()
def selected(logits: Tensor, share: float) -> dict[str, np.ndarray]:
    """Find the pixels of one image that each way selects.

    Args:
        logits: Logits ``(1, C, h, w)`` of the network that selects.
        share: eta, the share that is selected of the image's pixels, or of those of each predicted class; in (0, 1].

    Returns:
        ``(h, w)`` bool for each of :data:`WAYS`.

    Raises:
        ValueError: `share` is outside its range.
    """
    return {name: reliable(logits, share, by=by, per=per)[0].cpu().numpy() for name, (by, per) in WAYS.items()}


def accuracy(ids: np.ndarray, label: np.ndarray, among: np.ndarray) -> float:
    """Compute the percentage of right ids among the labeled of some pixels.

    Args:
        ids: Predicted train ids ``(h, w)``.
        label: True train ids ``(h, w)``.
        among: Mask ``(h, w)``, bool, of the pixels that count.

    Returns:
        A number in [0, 100]; NaN where none of the pixels is labeled.
    """
    counted = among & (label != IGNORE_INDEX)
    return 100 * float((ids == label)[counted].mean()) if counted.any() else float("nan")
