"""PGPC: pseudo-label guided pixel contrast for domain adaptive semantic segmentation.

The public names are loaded when first used, so that ``import pgpc`` and the command line's help stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgpc import contrast
    from pgpc.config import (
        AdaptationConfig,
        Config,
        ContrastConfig,
        DataConfig,
        EvaluationConfig,
        ModelConfig,
        OptimizerConfig,
        ProCAConfig,
        StreetsConfig,
        TrainingConfig,
        override,
    )
    from pgpc.evaluation.loaded_model import LoadedModel, load_model
    from pgpc.evaluation.scoring import evaluate
    from pgpc.models import build_model, load_exported, load_weights
    from pgpc.presets import preset
    from pgpc.recipes.recipe import own_preset
    from pgpc.training import Callbacks, ForkParent, ForkTrunk, Fresh, NonFiniteLoss, Result, Resume, train

_HOMES = {
    "AdaptationConfig": "pgpc.config",
    "Callbacks": "pgpc.training",
    "Config": "pgpc.config",
    "ContrastConfig": "pgpc.config",
    "DataConfig": "pgpc.config",
    "EvaluationConfig": "pgpc.config",
    "ForkParent": "pgpc.training",
    "ForkTrunk": "pgpc.training",
    "Fresh": "pgpc.training",
    "LoadedModel": "pgpc.evaluation.loaded_model",
    "ModelConfig": "pgpc.config",
    "NonFiniteLoss": "pgpc.training",
    "OptimizerConfig": "pgpc.config",
    "ProCAConfig": "pgpc.config",
    "Result": "pgpc.training",
    "Resume": "pgpc.training",
    "StreetsConfig": "pgpc.config",
    "TrainingConfig": "pgpc.config",
    "build_model": "pgpc.models",
    "evaluate": "pgpc.evaluation.scoring",
    "load_exported": "pgpc.models",
    "load_model": "pgpc.evaluation.loaded_model",
    "load_weights": "pgpc.models",
    "override": "pgpc.config",
    "own_preset": "pgpc.recipes.recipe",
    "preset": "pgpc.presets",
    "train": "pgpc.training",
}

__all__ = [
    "AdaptationConfig",
    "Callbacks",
    "Config",
    "ContrastConfig",
    "DataConfig",
    "EvaluationConfig",
    "ForkParent",
    "ForkTrunk",
    "Fresh",
    "LoadedModel",
    "ModelConfig",
    "NonFiniteLoss",
    "OptimizerConfig",
    "ProCAConfig",
    "Result",
    "Resume",
    "StreetsConfig",
    "TrainingConfig",
    "build_model",
    "contrast",
    "evaluate",
    "load_exported",
    "load_model",
    "load_weights",
    "override",
    "own_preset",
    "preset",
    "train",
]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "contrast":
        return importlib.import_module("pgpc.contrast")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pgpc' has no attribute {name!r}")
