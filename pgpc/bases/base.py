"""The protocol of bases: what the loop, the state, the loader and the trunk ask of the way in which a run learns.

A base is what is learned beside the contrast: self-training on the target, ProCA, or the labeled source alone. Whoever
adds one writes a module with a subclass of :class:`Base` under the name ``BASE``, and a preset that names the module.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pgpc.bases.passes import Pass
from pgpc.bases.state import TrainingState
from pgpc.bases.teacher_forward import TeacherOutput
from pgpc.classes import ClassSet
from pgpc.config import Config
from pgpc.data.batch import Batch, BatchPlan
from pgpc.data.loader import training_batches
from pgpc.data.shards.reader import Shards
from pgpc.models.student import Student
from pgpc.optimization.optimizer import learning_rate
from pgpc.runtime.checks import check


class Base(abc.ABC):
    """What is learned beside the contrast. It holds no state of its own: that is in :class:`TrainingState`.

    Args:
        config: The config of the run.

    Raises:
        ValueError: The base cannot be trained with this config.
    """

    takes_target_labels: bool = False
    """Whether steps learn from ``Batch.require_labeled()``, the images that ``data.target_labels`` names."""
    accumulates: bool = False
    """Whether steps take their images in the parts that ``training.accumulate`` asks for."""
    merges: bool = False
    """Whether the student is shown several passes in a step, which ``training.merge_passes`` makes one batch of."""
    shows_clean_target: bool = False
    """Whether steps show the student the clean target images for their anchors alone, as ``contrast.fill_trains_head``
    and ``contrast.clean_statistics`` say."""

    def __init__(self, config: Config) -> None:
        self.config = config
        check(
            config.data.target_labels is None or self.takes_target_labels,
            f"data.target_labels must be none with base={config.base}, which has no loss on them",
            config.data.target_labels,
        )
        check(
            config.training.accumulate == 1 or self.accumulates,
            f"training.accumulate must be 1 with base={config.base}, which takes all images of a step at a time",
            config.training.accumulate,
        )

        contrast = config.contrast
        switches = {
            "fill_trains_head": ("False", contrast.fill_trains_head),
            "clean_statistics": ("'updated'", contrast.clean_statistics != "updated"),
        }
        for name, (default, changed) in switches.items():
            check(
                self.shows_clean_target or not (contrast.enabled and changed),
                f"contrast.{name} must be {default} with base={config.base}, which has no pass of its own for anchors",
                getattr(contrast, name),
            )

    @abc.abstractmethod
    def step(self, state: TrainingState, batch: Batch) -> dict[str, Tensor]:
        """Advance the state by one optimizer step.

        Args:
            state: The state; it is changed in place.
            batch: This process's share of the images.

        Returns:
            Scalars by name, detached and on the device: the losses as ``loss/..``, and whatever else belongs into the
            training curves; ``anchors`` is ``(C,)``.
        """

    def passes(
        self, state: TrainingState, batch: Batch, seen: TeacherOutput, draws: torch.Generator, log: dict[str, Tensor]
    ) -> list[Pass] | None:
        """Return the passes of the student in the next step, whose losses a diagnosis takes apart.

        Here None: the base does not tell its losses apart.

        Args:
            state: The state; it is left as it is.
            batch: This process's share of the images.
            seen: What the teacher says of the target images.
            draws: Generator of the contrast's draws.
            log: Scalars, to which the losses of the passes add theirs as ``loss/..``, connected to the graph.
        """
        return None

    def make_part(self, student: Student) -> nn.Module | None:
        """Return the base's own part of the state, which a checkpoint holds; here there is none.

        Args:
            student: The network, whose sizes may be needed.
        """
        return None

    def prepare(self, state: TrainingState, source: Shards, target: Shards | None) -> None:
        """Do what comes before the next step, which is mostly nothing; called before every step.

        A checkpoint is written after a step, hence before this: a run that is resumed at the end of a stage prepares
        the next one.

        Args:
            state: The state; it may be changed in place.
            source: Labeled train split.
            target: Train split of the target, whose labels must not be read; None where the target is not used.
        """
        return None

    def learning_rate(self, step: int) -> float:
        """Return the encoder's learning rate in a step (0-based)."""
        return learning_rate(step, self.config.optimizer, self.config.training.iterations)

    def images_per_step(self, step: int) -> tuple[int, int]:
        """Return how many source and target images a step takes over all processes.

        Here ``training.batch_size`` of each domain, or of the source alone where ``adaptation.enabled`` is off.

        Args:
            step: 0-based iteration.
        """
        size = self.config.training.batch_size
        return size, size if self.config.adaptation.enabled else 0

    @property
    def changes_colors(self) -> bool:
        """Whether a step changes the colors of images at random."""
        adaptation = self.config.adaptation
        jitters = adaptation.enabled and adaptation.jitter_strength > 0
        return jitters or adaptation.source_colors != "unchanged"

    def labeled_per_step(self) -> int:
        """Return how many target images with labels a step takes over all processes, beside the others."""
        return 0 if self.config.data.target_labels is None else self.config.training.batch_size

    def plan(self, source: Shards) -> BatchPlan:
        """Return how many images of each domain every step takes and, where the base decides it, which source images.

        Args:
            source: Labeled train split.
        """
        return BatchPlan(self.images_per_step)

    def acts_before_contrast(self, key: str) -> bool:
        """Return whether a setting of the contrast plays a part before the memory bank begins to fill.

        Runs that differ only in settings that do not can share their first iterations, see :mod:`pgpc.training.trunk`.

        Args:
            key: Dotted key, such as ``"contrast.anchor_view"``.
        """
        # Without a loss on mixed images they are made for their anchors, from the first iteration on.
        return key == "contrast.anchor_view" and self.config.adaptation.target_weight == 0

    def extends(self, shorter: Config, step: int) -> bool:
        """Return whether the steps so far of a shorter run are those of this one, so that it can be lengthened.

        Here the learning rates and the numbers of images are compared; all else that a step does depends on the number
        of the step alone. A base in which more depends on the length of the run compares that, too.

        Args:
            shorter: Config of the run before; it differs in ``training.iterations`` alone.
            step: Number of steps done.
        """
        before = type(self)(shorter)
        return all(
            self.learning_rate(t) == before.learning_rate(t) and self.images_per_step(t) == before.images_per_step(t)
            for t in range(step)
        )

    def new_state(self, device: torch.device, classes: ClassSet | None = None) -> TrainingState:
        """Return the state before the first step.

        Args:
            device: Where the networks live.
            classes: The classes of the data.
        """
        return TrainingState(self.config, device, classes, make_part=self.make_part)

    def batches(
        self,
        source: Shards,
        target: Shards | None,
        labeled: Shards | None = None,
        *,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        as_bytes: bool = False,
    ) -> Iterator[Batch]:
        """Return the batches of the steps from `start_step` to the end of the run; see :func:`training_batches`."""
        config = self.config
        return training_batches(
            config.data,
            source,
            target,
            labeled,
            plan=self.plan(source),
            seed=config.seed,
            batch_size=config.training.batch_size,
            accumulate=config.training.accumulate,
            num_classes=config.model.num_classes,
            steps=range(start_step, config.training.iterations),
            rank=rank,
            world_size=world_size,
            as_bytes=as_bytes,
        )
