"""All that crosses a training step, and its checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pgpc.adaptation.teacher import make_teacher
from pgpc.bases.starts import Start, starts_of
from pgpc.classes import ClassSet, classes_from_json, classes_to_json
from pgpc.config import Config, adjustable_keys, bookkeeping_keys, flatten, from_text, place_keys, to_dict
from pgpc.contrast import PixelContrast
from pgpc.models.batch_norm import synchronize_batch_norm
from pgpc.models.checkpoint import BEST, CHECKPOINT, current_names, read_newest, write_checkpoint
from pgpc.models.normalization import see_alike
from pgpc.models.student import Student
from pgpc.optimization.optimizer import make_optimizer
from pgpc.runtime import distributed
from pgpc.runtime.seeding import seed_everything

log = logging.getLogger(__name__)

LENGTH = "training.iterations"
"""Key of the length of a run."""

Extends = Callable[[Config, int], bool]
"""What tells whether a run may be longer than it was; see :meth:`pgpc.bases.base.Base.extends`."""

MakePart = Callable[[Student], "nn.Module | None"]
"""What makes a base's own part of the state, beside a student; see :meth:`pgpc.bases.base.Base.make_part`."""


class TrainingState:
    """Student, teacher, optimizer, memory bank, the base's own part, and the number of steps done.

    There is no random generator, sampler or schedule in it, and none needs saving: batches (`training_batches`), every
    random draw (`pgpc.runtime.seeding`; the global generator, which dropout uses, is seeded anew at each step), the
    learning rate and the teacher's decay are functions of the config, its seed included, and of the step number. That
    is why a resumed run goes on bit for bit as if it had not been interrupted.

    Args:
        config: The config of the run.
        device: Where the networks live.
        classes: The classes of the data, kept beside the weights for whoever uses them.
        make_part: Makes the base's own part of the state; None for a base that has none.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        classes: ClassSet | None = None,
        *,
        make_part: MakePart | None = None,
    ) -> None:
        seed_everything(config.seed, "initial weights")
        self.config = config
        self.classes = classes or classes_from_json(None, config.model.num_classes)
        self.student = make_student(config, classes).to(device)
        if config.training.sync_batch_norm:
            synchronize_batch_norm(self.student)  # and so the teacher, its copy
        self.teacher = make_teacher(self.student) if config.adaptation.enabled else None
        self.contrast = (
            PixelContrast(config.contrast, config.model.num_classes).to(device) if config.contrast.enabled else None
        )
        part = make_part(self.student) if make_part is not None else None
        self.base: nn.Module | None = None if part is None else part.to(device)
        """The base's own part: whatever it remembers from step to step, in buffers, and what it trains beside."""
        self.initial_encoder: nn.Module | None = None
        """The encoder as it was before training, for the feature distance; follows from the config."""
        if config.adaptation.keeps_things:
            check_feature_distance(config)
            initial = make_teacher(self.student.segmenter.encoder).eval()
            self.initial_encoder = self.student.fixed_in_precision(initial)
        self.replica = distributed.replicate(self.student, device)
        """The student as it is called in training; wraps it where there are several processes."""
        self.optimizer = make_optimizer(self.student, config.optimizer, self.base)
        # Of no effect in other precisions, whose range is that of float32.
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.training.precision == "float16")
        """What losses are multiplied by, so that gradients of float16 neither vanish nor overflow."""
        self.skipped = False
        """Whether the last step left the weights alone, since gradients of float16 had overflown."""
        self.step = 0
        """Optimizer steps done; the 0-based number of the next one."""
        self.metrics: dict[str, float] = {}
        """The last reported metrics."""
        self.progress: dict[str, Any] | None = None
        """``Progress.state_dict()`` of the checkpoint that was loaded, if it is from between two reports."""
        self.starts: list[Start] = []
        """The starts of the run, those of what it was forked from before its own."""
        self._damaged: Path | None = None
        """A file that could not be loaded, and must not take the place of the one that was instead."""

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return next(self.student.parameters()).device

    @property
    def align_corners(self) -> bool:
        """How logits are brought to the size of labels."""
        return self.student.segmenter.align_corners

    def merge_passes(self) -> None:
        """Let the encoders see the images of all losses of a step as one batch from now on."""
        for network in (self.student, self.teacher):
            if network is not None:
                network.merges_passes = True

    def require_teacher(self) -> Student:
        """Return the teacher of a run that has one."""
        assert self.teacher is not None, "the run trains without a teacher"
        return self.teacher

    def require_contrast(self) -> PixelContrast:
        """Return the memory bank and loss of a run with contrast."""
        assert self.contrast is not None, "the run trains without contrast"
        return self.contrast

    def save(self, folder: Path, progress: dict[str, Any] | None = None) -> None:
        """Write the state to ``folder/checkpoint.pt``: complete, or not at all.

        Args:
            folder: The folder; it is made where there is none.
            progress: Between two reports, ``Progress.state_dict()``.
        """
        content = {
            "config": json.dumps(to_dict(self.config)),
            "classes": classes_to_json(self.classes),
            "processes": distributed.world_size(),
            "starts": [start.to_json() for start in self.starts],
            "step": self.step,
            "metrics": self.metrics,
            "progress": progress,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
            "contrast": self.contrast.state_dict() if self.contrast is not None else None,
            "base": self.base.state_dict() if self.base is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        write_checkpoint(folder, content, damaged=self._damaged)
        self._damaged = None

    def load(self, folder: Path, *, adjust: bool = False, extends: Extends | None = None) -> None:
        """Resume from ``checkpoint.pt``, or with a warning from ``previous.pt`` where that is missing or damaged.

        Args:
            folder: The folder that holds it.
            adjust: It may be the checkpoint of another run, a parent, which differs in settings that a running trial
                may change (:func:`pgpc.config.adjustable_keys`).
            extends: Whether the run may be longer than it was, see :meth:`pgpc.bases.base.Base.extends`; None refuses
                that.

        Raises:
            FileNotFoundError: There is neither in `folder`.
            ValueError: Neither can be read, it belongs to a run with another config or other classes, or other
                processes read another one.
        """
        newest = read_newest(Path(folder))
        saved = newest.content
        if "optimizer" not in saved:
            raise ValueError(
                f"A run can only be resumed from what training has saved, but {newest.file} has no optimizer: it is a "
                f"copy of a {BEST}, which is for evaluation. Put back the run's own {CHECKPOINT}."
            )
        if newest.problem:
            self._damaged = (Path(folder) / "checkpoint.pt").resolve()
            if distributed.rank() == 0:
                log.warning("%s Resuming from %s, iteration %d.", newest.problem, newest.file, saved["step"])
        self._check_config(folder, saved, adjust=adjust, extends=extends)
        self._check_classes(folder, saved)
        self._check_processes(folder, saved)
        self.step = saved["step"]
        self.metrics = current_names(saved["metrics"])
        self.progress = saved.get("progress")
        self.starts = starts_of(saved)
        self.student.load_state_dict(saved["student"])
        if self.initial_encoder is not None:  # runs of earlier versions showed images as they come
            see_alike(self.initial_encoder, self.student.segmenter.encoder)
        self.load_part(self.teacher, saved["teacher"])
        self.load_part(self.contrast, saved["contrast"])
        self.load_part(self.base, saved_base(saved))
        self.optimizer.load_state_dict(saved["optimizer"])
        self.load_scaler(saved)

    @staticmethod
    def load_part(part: nn.Module | None, saved: Mapping[str, Any] | None) -> None:
        """Load a part of the state where the run has it."""
        if part is not None:
            part.load_state_dict(cast("Mapping[str, Any]", saved))

    def load_scaler(self, saved: Mapping[str, Any]) -> None:
        """Load the scale of losses where the run has one; files of earlier versions have none."""
        if self.scaler.is_enabled() and saved.get("scaler"):
            self.scaler.load_state_dict(saved["scaler"])

    def _check_config(self, folder: Path, saved: Mapping[str, Any], *, adjust: bool, extends: Extends | None) -> None:
        before = from_text(saved["config"], folder)
        ours, theirs = flatten(self.config), flatten(before)
        may_differ = (*bookkeeping_keys(), *place_keys(), *(adjustable_keys() if adjust else ()))
        differ = [k for k in ours if ours[k] != theirs[k] and k not in may_differ]
        if differ == [LENGTH] and extends is not None and ours[LENGTH] > theirs[LENGTH]:
            if not extends(before, saved["step"]):
                raise ValueError(
                    f"A run can only be lengthened where its iterations so far do not depend on {LENGTH}, but in "
                    f"{folder} {saved['step']} are done whose learning rate or stages are those of a run that ends at "
                    f"iteration {theirs[LENGTH]}. Train afresh with {LENGTH}={ours[LENGTH]} in another folder; with "
                    "optimizer.power=0, a constant rate, a run can be lengthened later."
                )
            differ = []
            if distributed.rank() == 0:
                log.info("The run is lengthened from %d to %d iterations.", theirs[LENGTH], ours[LENGTH])
        if differ:
            listing = "; ".join(f"{k}: {theirs[k]!r} there, {ours[k]!r} here" for k in differ)
            raise ValueError(
                f"A run can only be resumed with the config it was started with, but {folder} differs in {listing}. "
                "Resume with those values, or start afresh in another folder."
            )
        for key in place_keys():
            if ours[key] != theirs[key] and distributed.rank() == 0:
                log.warning("%s was %s and is %s: its contents must be the same.", key, theirs[key], ours[key])

    def _check_classes(self, folder: Path, saved: Mapping[str, Any]) -> None:
        """Refuse to go on with data of other classes, or of the same in another order."""
        ours = self.classes.names
        theirs = classes_from_json(saved.get("classes"), self.config.model.num_classes).names
        if theirs != ours:
            raise ValueError(
                f"A run can only be resumed with the classes that it has learned, in their order, but {folder} has "
                f"{', '.join(theirs)} and the data now have {', '.join(ours)}. Pack the data as they were, or start "
                "afresh in another folder."
            )

    def _check_processes(self, folder: Path, saved: Mapping[str, Any]) -> None:
        """Refuse processes that resume from different steps; warn where they are more or fewer than before."""
        step = torch.tensor(saved["step"], device=self.device)
        steps = distributed.all_gather(step).tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"All processes must resume from the same checkpoint, but in {folder} they found those of iterations "
                f"{steps}. Copy the same files to all machines."
            )
        before, now = saved["processes"], distributed.world_size()
        if before != now and distributed.rank() == 0:
            log.warning(
                "The run was interrupted with %d processes and is resumed with %d: batches and draws stay the same, "
                "but dropout differs, and so do batch statistics unless training.sync_batch_norm is on.",
                before,
                now,
            )


def make_student(config: Config, classes: ClassSet | None = None) -> Student:
    """Return the network that a run trains, with a projection head where pixels are contrasted.

    Args:
        config: The config of the run.
        classes: The classes of the data, where they are known.
    """
    contrast, training = config.contrast, config.training
    return Student(
        config.model,
        projection=(contrast.hidden, contrast.dim) if contrast.enabled else None,
        project_last=contrast.maps == "last",
        merge_passes=training.merge_passes is True,
        precision=training.precision,
        classes=None if classes is None else classes.names,
        bands=config.data.bands,
        masks_tokens=config.adaptation.masks_tokens,
    )


def saved_base(saved: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the base's own part of a checkpoint, which older ones call by the name of the one base that had one."""
    found: Mapping[str, Any] | None = saved["base"] if "base" in saved else saved.get("proca")
    return found


def check_feature_distance(config: Config) -> None:
    """Refuse to hold an encoder close to initial weights that are random.

    Raises:
        ValueError: The feature distance is on and the encoder has no pretrained weights.
    """
    adaptation = config.adaptation
    if adaptation.keeps_things and config.model.pretrained is None:
        raise ValueError(
            f"adaptation.feature_distance_weight ({adaptation.feature_distance_weight}) needs an encoder with "
            "pretrained weights, but got model.pretrained=none. Set model.pretrained=imagenet or a file, or "
            "adaptation.feature_distance_weight=0."
        )
