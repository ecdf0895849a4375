"""When the stages of ProCA begin and end, and how many images of each domain a step takes.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022, Section 3, with
the batches of the published code. Free of torch, because the loader and the learning rate ask too.
"""

from __future__ import annotations

from typing import Literal

from pgpc.config import Config

Stage = Literal["source", "adapt", "self_training"]


def first_step(stage: Stage, config: Config) -> int:
    """The first iteration (0-based) of a stage; that of an empty "self_training" is the end of the run."""
    starts = {
        "source": 0,
        "adapt": config.proca.source_iterations,
        "self_training": config.training.iterations - config.proca.self_training_iterations,
    }
    return starts[stage]


def stage_of(step: int, config: Config) -> Stage:
    """The stage that iteration `step` (0-based) belongs to."""
    if step < first_step("adapt", config):
        return "source"
    return "adapt" if step < first_step("self_training", config) else "self_training"


def images_per_step(step: int, config: Config) -> tuple[int, int]:
    """Source and target images that iteration `step` takes over all processes, with B = ``training.batch_size``.

    ProCA's stages take 2B images each: of the source, of both domains evenly, of the target. Any other base takes B of
    each domain, or the source's alone where ``adaptation.enabled`` is off.
    """
    size = config.training.batch_size
    if not config.proca.enabled:
        return size, size if config.adaptation.enabled else 0
    return {"source": (2 * size, 0), "adapt": (size, size), "self_training": (0, 2 * size)}[stage_of(step, config)]
