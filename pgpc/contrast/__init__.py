"""Pseudo-label guided pixel contrast: the paper's own contribution (Eqs. 5-11).

===========  =======================  ====================================
Equation     What                     Where
===========  =======================  ====================================
Eq. 5        InfoNCE                  :func:`~pgpc.contrast.loss.info_nce`
Eq. 7        entropy                  :func:`~pgpc.contrast.reliability.entropy`
Eq. 8        anchors                  :func:`~pgpc.contrast.reliability.reliable`, drawn in ``PixelContrast.loss``
Eq. 9        prototypes               ``PrototypeBank.prototypes``
Eq. 10       source negatives         :func:`~pgpc.contrast.sampling.draw_other_classes`, or ``.._by_pixels``
Eq. 11       target negatives         :func:`~pgpc.contrast.reliability.rank_negatives`
Fig. 1       families of contrast     ``PixelContrast.loss``
===========  =======================  ====================================

Names are resolved at first use: the configuration is read in processes that must not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgpc.contrast.config import ContrastConfig
    from pgpc.contrast.loss import info_nce
    from pgpc.contrast.memory import FeatureBank, PrototypeBank
    from pgpc.contrast.pixel_contrast import PixelContrast
    from pgpc.contrast.reliability import entropy, rank_negatives, reliable

_HOMES = {
    "ContrastConfig": "config",
    "FeatureBank": "memory",
    "PixelContrast": "pixel_contrast",
    "PrototypeBank": "memory",
    "entropy": "reliability",
    "info_nce": "loss",
    "rank_negatives": "reliability",
    "reliable": "reliability",
}

__all__ = [
    "ContrastConfig",
    "FeatureBank",
    "PixelContrast",
    "PrototypeBank",
    "entropy",
    "info_nce",
    "rank_negatives",
    "reliable",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
