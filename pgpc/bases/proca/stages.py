"""When the stages of ProCA begin and end.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022, Section 3.
"""

from __future__ import annotations

from typing import Literal

from pgpc.config import Config

Stage = Literal["source", "adapt", "self_training"]


def first_step(stage: Stage, config: Config) -> int:
    """Return the first iteration (0-based) of a stage; that of an empty "self_training" is the end of the run."""
    starts = {
        "source": 0,
        "adapt": config.proca.source_iterations,
        "self_training": config.training.iterations - config.proca.self_training_iterations,
    }
    return starts[stage]


def stage_of(step: int, config: Config) -> Stage:
    """Return the stage that iteration `step` (0-based) belongs to."""
    if step < first_step("adapt", config):
        return "source"
    return "adapt" if step < first_step("self_training", config) else "self_training"
