"""All that crosses a training step, and its checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pgpc import distributed
from pgpc.adaptation.teacher import make_teacher
from pgpc.config import Config, flatten, from_dict, to_dict
from pgpc.contrast import PixelContrast
from pgpc.training.optimization import make_optimizer
from pgpc.training.seeding import seed_everything
from pgpc.training.student import Student

CHECKPOINT = "checkpoint.pt"
"""Name of the file inside a checkpoint folder."""

_MAY_CHANGE = ("name", "data.loader_workers", "training.eval_interval", "training.log_interval")
"""Keys that a resumed run may set differently: they do not influence what is learnt."""


class TrainingState:
    """Student, teacher, optimiser, memory and the number of steps done.

    Nothing else crosses a step: batches and all random draws are functions of the seed and the step number.

    Args:
        config: of the run.
        device: where the networks live.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        seed_everything(config.seed, "initial weights")
        self.config = config
        self.student = Student(config).to(device)
        self.teacher = make_teacher(self.student) if config.adaptation.enabled else None
        self.contrast = (
            PixelContrast(config.contrast, config.model.num_classes).to(device) if config.contrast.enabled else None
        )
        self.initial_encoder: nn.Module | None = None
        """The encoder as it was before training, for the feature distance; follows from the config."""
        if config.adaptation.enabled and config.adaptation.feature_distance_weight > 0:
            check_feature_distance(config)
            self.initial_encoder = make_teacher(self.student.segmenter.encoder).eval()
        self.replica = distributed.replicate(self.student, device)
        """The student as it is called in training; wraps it where there are several processes."""
        self.optimizer = make_optimizer(self.student, config.optimizer)
        self.step = 0
        """Optimiser steps done; the 0-based number of the next one."""
        self.metrics: dict[str, float] = {}
        """The last reported metrics."""

    def save(self, folder: Path) -> None:
        """Write the state to ``folder/checkpoint.pt``: complete, or not at all."""
        state = {
            "config": json.dumps(to_dict(self.config)),
            "step": self.step,
            "metrics": self.metrics,
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict() if self.teacher is not None else None,
            "contrast": self.contrast.state_dict() if self.contrast is not None else None,
            "optimizer": self.optimizer.state_dict(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{CHECKPOINT}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / CHECKPOINT)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            FileNotFoundError: there is none in `folder`.
            ValueError: it cannot be read, or it belongs to a run with another config.
        """
        state = read_checkpoint(folder)
        ours, theirs = flatten(self.config), flatten(from_dict(json.loads(state["config"])))
        differ = [k for k in ours if ours[k] != theirs[k] and k not in _MAY_CHANGE]
        if differ:
            listing = "; ".join(f"{k}: {theirs[k]!r} there, {ours[k]!r} here" for k in differ)
            raise ValueError(
                f"A run can only be resumed with the config it was started with, but {folder} differs in {listing}. "
                "Resume with those values, or start afresh in another folder."
            )
        self.step = state["step"]
        self.metrics = state["metrics"]
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        if self.contrast is not None:
            self.contrast.load_state_dict(state["contrast"])
        self.optimizer.load_state_dict(state["optimizer"])


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
    """The content of a checkpoint, on the CPU.

    Raises:
        FileNotFoundError: there is none in `folder`.
        ValueError: it is damaged, or no checkpoint of this program.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"No {CHECKPOINT} in {folder}. Give the folder that holds it.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a file that is no checkpoint
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}). It is damaged or of another program; "
            "take an earlier one or start afresh."
        ) from error
    if not isinstance(state, dict) or not {"config", "step", "student"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of pgpc: it lacks config, step or student.")
    return state
