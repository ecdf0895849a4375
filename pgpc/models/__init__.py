"""Encoders, decode heads, and the networks made of them.

Names are resolved at first use: :class:`ModelConfig` is read in processes that must not load torch or timm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgpc.models.config import ARCHITECTURES, ModelConfig
    from pgpc.models.daformer import DAFormerHead
    from pgpc.models.projection import ProjectionHead
    from pgpc.models.segmenter import STRIDES, Segmenter, build_model, check_model
    from pgpc.models.weights import LoadReport, load_encoder, load_weights

_HOMES = {
    "ARCHITECTURES": "config",
    "ModelConfig": "config",
    "DAFormerHead": "daformer",
    "ProjectionHead": "projection",
    "STRIDES": "segmenter",
    "Segmenter": "segmenter",
    "build_model": "segmenter",
    "check_model": "segmenter",
    "LoadReport": "weights",
    "load_encoder": "weights",
    "load_weights": "weights",
}

__all__ = [
    "ARCHITECTURES",
    "STRIDES",
    "DAFormerHead",
    "LoadReport",
    "ModelConfig",
    "ProjectionHead",
    "Segmenter",
    "build_model",
    "check_model",
    "load_encoder",
    "load_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
