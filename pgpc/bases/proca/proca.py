"""ProCA behind the protocol of bases: its stages, its batches, its learning rates and its part of the state."""

from __future__ import annotations

import dataclasses
import functools

from torch import Tensor

from pgpc.bases.base import Base
from pgpc.bases.passes import backward_of, begin_step, end_step
from pgpc.bases.proca.class_balance import ClassBalancedDraws
from pgpc.bases.proca.losses import stage_loss
from pgpc.bases.proca.preparation import prepare_adapt, prepare_self_training
from pgpc.bases.proca.prototypes import ProCAState
from pgpc.bases.proca.stages import first_step, stage_of
from pgpc.bases.state import TrainingState
from pgpc.config import Config
from pgpc.data.batch import Batch, BatchPlan
from pgpc.data.shards.reader import Shards
from pgpc.models.student import Student
from pgpc.optimization.optimizer import learning_rate

SCALES = (0.5, 1.5)
"""Multiples of their *native* size that target images are shown at in stage "self_training"."""


class ProCA(Base):
    """Prototypical contrast adaptation, with or without the contrast of PGPC."""

    def make_part(self, student: Student) -> ProCAState:
        """Return the prototypes and the thresholds of pseudo-labels.

        Args:
            student: The network, whose last features have prototypes.
        """
        dim = student.segmenter.encoder_channels[-1]
        return ProCAState(self.config.proca, self.config.model.num_classes, dim)

    def prepare(self, state: TrainingState, source: Shards, target: Shards | None) -> None:
        """Do what comes between two stages, if the next step is the first of its stage; nothing otherwise.

        Args:
            state: The state; it is changed in place.
            source: Labeled train split, of which stage "adapt" needs the prototypes.
            target: Train split, of which stage "self_training" needs thresholds of confidence; its labels are not read.
        """
        if state.step == first_step("adapt", self.config):
            prepare_adapt(state, source)
        elif state.step == first_step("self_training", self.config):
            assert target is not None, "ProCA trains on the target"
            prepare_self_training(state, target)

    def step(self, state: TrainingState, batch: Batch) -> dict[str, Tensor]:
        """Advance the state by one optimizer step of the stage that it is in, which must have been prepared.

        Args:
            state: The state; it is changed in place.
            batch: This process's share of the images; a domain that the stage does not use is None.

        Returns:
            Scalars by name, detached and on the device: the losses of the stage and, with the contrast, the
            pseudo-label weight and ``anchors``, ``(C,)``.
        """
        log: dict[str, Tensor] = {}
        begin_step(state, self.learning_rate(state.step))
        backward_of(state, stage_loss(state, batch, log))
        end_step(state, projected="loss/contrast" in log)
        return {name: value.detach() for name, value in log.items()}

    def learning_rate(self, step: int) -> float:
        """Return the encoder's learning rate in a step (0-based); each stage begins its schedule afresh."""
        config = self.config
        stage, proca, schedule = stage_of(step, config), config.proca, config.optimizer
        since = step - first_step(stage, config)
        if stage == "source":  # whose horizon lies behind its end
            return learning_rate(since, schedule, proca.source_horizon)
        if stage == "self_training":
            return learning_rate(since, schedule, proca.self_training_iterations)
        length = first_step("self_training", config) - first_step("adapt", config)
        return learning_rate(since, dataclasses.replace(schedule, lr=proca.adapt_lr), length)

    @property
    def changes_colors(self) -> bool:
        """Whether a step changes the colors of images at random: those of every stage do."""
        return True

    def images_per_step(self, step: int) -> tuple[int, int]:
        """Return how many source and target images a step (0-based) takes over all processes.

        With B = ``training.batch_size`` every stage takes 2B images: of the source, of both domains evenly, of the
        target.
        """
        size = self.config.training.batch_size
        stages = {"source": (2 * size, 0), "adapt": (size, size), "self_training": (0, 2 * size)}
        return stages[stage_of(step, self.config)]

    def plan(self, source: Shards) -> BatchPlan:
        """Return the numbers of images, the source images, and when target images are scaled.

        Source images are balanced by class in both stages that have some, unless ``data.rare_class_sampling`` draws
        them.

        Args:
            source: Labeled train split.
        """
        rare = self.config.data.rare_class_sampling
        rows = None if rare else _BalancedRows(self, ClassBalancedDraws(source.class_pixels))
        return BatchPlan(self.images_per_step, rows, functools.partial(_target_scales, self.config))

    def acts_before_contrast(self, key: str) -> bool:
        """Return whether a setting of the contrast plays a part before the memory bank begins to fill.

        Args:
            key: Dotted key.
        """
        # Stage "adapt" has its EMA teacher only for the contrast.
        return key == "contrast.enabled" or super().acts_before_contrast(key)


class _BalancedRows:
    """The source image of each place in stages "source" and "adapt", each of which counts its images from 0."""

    def __init__(self, base: ProCA, draws: ClassBalancedDraws) -> None:
        self._base, self._draws = base, draws

    def __call__(self, step: int, index: int) -> int:
        config = self._base.config
        stage = stage_of(step, config)
        drawn_before = (step - first_step(stage, config)) * self._base.images_per_step(step)[0]
        return self._draws.row(config.seed, stage, drawn_before + index)


def _target_scales(config: Config, step: int) -> tuple[float, float] | None:
    """Return the multiples of their native size that target images are learned at; None where they stay as they are."""
    return SCALES if stage_of(step, config) == "self_training" else None
