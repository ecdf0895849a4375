"""All that crosses a training step, and its checkpoint."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pgpc.adaptation.teacher import make_teacher
from pgpc.bases.proca.prototypes import ProCA
from pgpc.classes import ClassSet, classes_from_json, classes_to_json
from pgpc.config import Config, flatten, from_dict, to_dict
from pgpc.contrast import PixelContrast
from pgpc.models.batch_norm import synchronize_batch_norm
from pgpc.models.student import Student
from pgpc.optimization.optimizer import make_optimizer
from pgpc.runtime import distributed
from pgpc.runtime.seeding import seed_everything

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
"""Name of the file inside a checkpoint folder."""

PREVIOUS = "previous.pt"
"""Name that a checkpoint gets when the next one is written."""

_MAY_CHANGE = (
    "name",
    "data.loader_workers",
    "training.eval_interval",
    "training.log_interval",
    "model.checkpointing",
    "evaluation.window",
    "evaluation.window_stride",
    "evaluation.window_batch",
)
"""Keys that a resumed run may set differently: they do not influence what is learned from the checkpoint on."""

_MAY_MOVE = ("data.source", "data.target", "model.pretrained")
"""Keys that name a place: the same files may lie elsewhere on the machine on which a run is resumed."""


ADJUSTABLE = (
    "contrast.r",
    "contrast.eta",
    "contrast.weight",
    "contrast.anchors",
    "contrast.negatives",
    "contrast.temperature",
    "contrast.quota",
    "contrast.pool",
    "contrast.average",
    "contrast.reliable_by",
    "contrast.reliable_per",
)
"""Keys in which a run may differ from its parent, see :meth:`TrainingState.load`. They act on single steps only: the
shape of no tensor depends on them, and nothing before the contrast. What they change of the memory grows out of it."""


class TrainingState:
    """Student, teacher, optimizer, memory, ProCA's prototypes and the number of steps done.

    There is no random generator, sampler or schedule in it, and none needs saving: batches (`training_batches`), every
    random draw (`pgpc.runtime.seeding`; the global generator, which dropout uses, is seeded anew at each step), the
    learning rate and the teacher's decay are functions of the config, its seed included, and of the step number. That
    is why a resumed run goes on bit for bit as if it had not been interrupted.

    Args:
        config: of the run.
        device: where the networks live.
        classes: of the data, kept beside the weights for whoever uses them.
    """

    def __init__(self, config: Config, device: torch.device, classes: ClassSet | None = None) -> None:
        seed_everything(config.seed, "initial weights")
        self.config = config
        self.classes = classes or classes_from_json(None, config.model.num_classes)
        self.student = Student(config).to(device)
        if config.training.sync_batch_norm:
            synchronize_batch_norm(self.student)  # and so the teacher, its copy
        self.teacher = make_teacher(self.student) if config.adaptation.enabled else None
        self.contrast = (
            PixelContrast(config.contrast, config.model.num_classes).to(device) if config.contrast.enabled else None
        )
        self.proca: ProCA | None = None
        if config.proca.enabled:
            dim = self.student.segmenter.encoder_channels[-1]
            self.proca = ProCA(config.proca, config.model.num_classes, dim).to(device)
        self.initial_encoder: nn.Module | None = None
        """The encoder as it was before training, for the feature distance; follows from the config."""
        if config.adaptation.enabled and config.adaptation.feature_distance_weight > 0:
            check_feature_distance(config)
            self.initial_encoder = make_teacher(self.student.segmenter.encoder).eval()
        self.replica = distributed.replicate(self.student, device)
        """The student as it is called in training; wraps it where there are several processes."""
        self.optimizer = make_optimizer(self.student, config.optimizer)
        self.step = 0
        """Optimizer steps done; the 0-based number of the next one."""
        self.metrics: dict[str, float] = {}
        """The last reported metrics."""
        self.progress: dict[str, Any] | None = None
        """``Progress.state_dict()`` of the checkpoint that was loaded, if it is from between two reports."""
        self._damaged: Path | None = None
        """A file that could not be loaded, and must not take the place of the one that was instead."""

    def save(self, folder: Path, progress: dict[str, Any] | None = None) -> None:
        """Write the state to ``folder/checkpoint.pt``: complete, or not at all.

        The checkpoint that is there becomes ``previous.pt``: at any instant one of the two is complete.

        Args:
            folder: is made where there is none.
            progress: between two reports, ``Progress.state_dict()``.
        """
        state = {
            "config": json.dumps(to_dict(self.config)),
            "classes": classes_to_json(self.classes),
            "processes": distributed.world_size(),
            "step": self.step,
            "metrics": self.metrics,
            "progress": progress,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
            "contrast": self.contrast.state_dict() if self.contrast is not None else None,
            "proca": self.proca.state_dict() if self.proca is not None else None,
            "optimizer": self.optimizer.state_dict(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{CHECKPOINT}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        path = folder / CHECKPOINT
        if path.exists() and path.resolve() != self._damaged:
            os.replace(path, folder / PREVIOUS)
        os.replace(temporary, path)
        self._damaged = None

    def load(self, folder: Path, *, adjust: bool = False) -> None:
        """Go on from ``checkpoint.pt``, or with a warning from ``previous.pt`` where that is missing or damaged.

        Args:
            folder: that holds it.
            adjust: it may be of another run, a parent, which differs in settings of `ADJUSTABLE`.

        Raises:
            FileNotFoundError: there is neither in `folder`.
            ValueError: neither can be read, it belongs to a run with another config, or other processes read another
                one.
        """
        state = self._read_newest(Path(folder))
        ours, theirs = flatten(self.config), flatten(from_dict(json.loads(state["config"])))
        may_differ = (*_MAY_CHANGE, *_MAY_MOVE, *(ADJUSTABLE if adjust else ()))
        differ = [k for k in ours if ours[k] != theirs[k] and k not in may_differ]
        if differ:
            listing = "; ".join(f"{k}: {theirs[k]!r} there, {ours[k]!r} here" for k in differ)
            raise ValueError(
                f"A run can only be resumed with the config it was started with, but {folder} differs in {listing}. "
                "Resume with those values, or start afresh in another folder."
            )
        for key in _MAY_MOVE:
            if ours[key] != theirs[key] and distributed.rank() == 0:
                log.warning("%s was %s and is %s: its contents must be the same.", key, theirs[key], ours[key])
        self._check_processes(folder, state)
        self.step = state["step"]
        self.metrics = state["metrics"]
        self.progress = state.get("progress")
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        if self.contrast is not None:
            self.contrast.load_state_dict(state["contrast"])
        if self.proca is not None:
            self.proca.load_state_dict(state["proca"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _read_newest(self, folder: Path) -> dict[str, Any]:
        """The content of the newest checkpoint that can be read."""
        newest, previous = folder / CHECKPOINT, folder / PREVIOUS
        if not previous.is_file():
            return read_checkpoint(folder)
        try:
            return _read(newest)
        except (FileNotFoundError, ValueError) as error:
            reason = str(error)
            if newest.is_file():
                self._damaged = newest.resolve()
        try:
            state = _read(previous)
        except ValueError as error:
            raise ValueError(f"{folder} holds no checkpoint that can be read. {reason} {error}") from error
        if distributed.rank() == 0:
            log.warning("%s Going on from %s, iteration %d.", reason, previous, state["step"])
        return state

    def _check_processes(self, folder: Path, state: dict[str, Any]) -> None:
        """All must go on from the same step; how many they are may change, which rank 0 warns of."""
        step = torch.tensor(state["step"], device=next(self.student.parameters()).device)
        steps = distributed.all_gather(step).tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"All processes must go on from the same checkpoint, but in {folder} they found those of iterations "
                f"{steps}. Copy the same files to all machines."
            )
        before, now = state["processes"], distributed.world_size()
        if before != now and distributed.rank() == 0:
            log.warning(
                "The run was interrupted with %d processes and goes on with %d: batches and draws stay the same, but "
                "dropout differs, and so do batch statistics unless training.sync_batch_norm is on.",
                before,
                now,
            )


def check_feature_distance(config: Config) -> None:
    """Refuse to hold an encoder close to initial weights that are random.

    Raises:
        ValueError: the feature distance is on and the encoder has no pretrained weights.
    """
    adaptation = config.adaptation
    if adaptation.enabled and adaptation.feature_distance_weight > 0 and not config.model.pretrained:
        raise ValueError(
            f"adaptation.feature_distance_weight ({adaptation.feature_distance_weight}) needs an encoder with "
            "pretrained weights, but got model.pretrained=''. Set model.pretrained=FILE, or "
            "adaptation.feature_distance_weight=0."
        )


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The content of ``checkpoint.pt``, on the CPU.

    Raises:
        FileNotFoundError: there is none in `folder`.
        ValueError: it is damaged, or no checkpoint of this program.
    """
    path, previous = Path(folder) / CHECKPOINT, Path(folder) / PREVIOUS
    try:
        return _read(path)
    except (FileNotFoundError, ValueError) as error:
        if previous.is_file():
            remedy = f"There is an earlier one, {previous.name}: rename it to {CHECKPOINT} to use it."
        elif isinstance(error, FileNotFoundError):
            remedy = "Give the folder that holds it."
        else:
            remedy = "Take an earlier one or start afresh."
        raise type(error)(f"{error} {remedy}") from error


def read_metrics(folder: Path) -> dict[str, float]:
    """The last report in ``checkpoint.pt``, without reading what was learned.

    Raises:
        FileNotFoundError: there is no checkpoint in `folder`.
        ValueError: it is cut short, or no checkpoint of this program.
    """
    path = Path(folder) / CHECKPOINT
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["metrics"])
    except FileNotFoundError:
        raise
    except Exception as error:  # see `_read`
        reason = type(error).__name__
        raise ValueError(f"{path} cannot be read as a checkpoint ({reason}). Take another one.") from error


def _read(path: Path) -> dict[str, Any]:
    """The content of one file, see `read_checkpoint`."""
    if not path.is_file():
        raise FileNotFoundError(f"No {path.name} in {path.parent}.")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save writes
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise half a dozen types for a file that is no checkpoint
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({reason}). It is damaged or of another program."
        ) from error
    if not isinstance(state, dict) or not {"config", "step", "student"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of pgpc: it lacks config, step or student.")
    return state
