"""Encoders, decode heads, and the networks made of them.

Names are resolved at first use: :class:`ModelConfig` is read in processes that must not load torch or timm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgpc.models.build import build_model, check_model, shortest_side
    from pgpc.models.config import ARCHITECTURES, ModelConfig
    from pgpc.models.daformer import DAFormerHead
    from pgpc.models.deeplab import DeepLabV2
    from pgpc.models.export import export_program, export_weights, load_exported
    from pgpc.models.hrda import HRDA, draw_detail_box
    from pgpc.models.pretrained import weights_file
    from pgpc.models.projection import ProjectionHead
    from pgpc.models.segmenter import STRIDES, Decoded, Segmenter
    from pgpc.models.weights import LoadReport, load_encoder, load_weights

_HOMES = {
    "build_model": "build",
    "check_model": "build",
    "shortest_side": "build",
    "ARCHITECTURES": "config",
    "ModelConfig": "config",
    "DAFormerHead": "daformer",
    "DeepLabV2": "deeplab",
    "export_program": "export",
    "export_weights": "export",
    "load_exported": "export",
    "HRDA": "hrda",
    "draw_detail_box": "hrda",
    "ProjectionHead": "projection",
    "STRIDES": "segmenter",
    "Decoded": "segmenter",
    "Segmenter": "segmenter",
    "LoadReport": "weights",
    "load_encoder": "weights",
    "load_weights": "weights",
    "weights_file": "pretrained",
}

__all__ = [
    "ARCHITECTURES",
    "HRDA",
    "STRIDES",
    "DAFormerHead",
    "Decoded",
    "DeepLabV2",
    "LoadReport",
    "ModelConfig",
    "ProjectionHead",
    "Segmenter",
    "build_model",
    "check_model",
    "draw_detail_box",
    "export_program",
    "export_weights",
    "load_encoder",
    "load_exported",
    "load_weights",
    "shortest_side",
    "weights_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
