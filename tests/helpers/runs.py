"""Checkpoints of untrained networks, for what needs a run and not a training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from pgpc.adaptation.teacher import make_teacher
from pgpc.classes import ClassSet, classes_from_json, classes_to_json
from pgpc.config import Config, to_dict
from pgpc.models.checkpoint import write_checkpoint
from pgpc.models.student import Student

SMALL = {
    "model.encoder": "mit_b0",
    "model.head_channels": 8,
    "model.pretrained": None,
    "data.target_size": "128,64",
    "data.crop": 64,
    "data.streets.num_source": 1,
    "data.streets.num_target": 1,
    "data.streets.num_val": 2,
    "data.streets.height": 64,
    "data.streets.width": 128,
}
"""Settings of a small network and of small pictures."""


def untrained_run(
    folder: Path,
    config: Config,
    *,
    classes: ClassSet | None = None,
    change: Callable[[Student, str], object] | None = None,
) -> Path:
    """Write the folder of a run as it is before its first step.

    Args:
        folder: The folder.
        config: The run's config; its seed is that of the weights.
        classes: The classes that the network tells apart; None for those of the config's number.
        change: Function that changes a network before it is written; it is given the network, and "student" or
            "teacher".
    """
    torch.manual_seed(config.seed)
    contrast = config.contrast
    projection = (contrast.hidden, contrast.dim) if contrast.enabled else None
    last = contrast.maps == "last"
    student = Student(config.model, projection=projection, project_last=last, bands=config.data.bands)
    networks = {"student": student, "teacher": make_teacher(student) if config.adaptation.enabled else None}
    with torch.no_grad():
        for name, network in networks.items():
            if network is not None and change is not None:
                change(network, name)
    write_checkpoint(
        folder,
        {
            "config": json.dumps(to_dict(config)),
            "classes": classes_to_json(classes or classes_from_json(None, config.model.num_classes)),
            "step": 0,
            "metrics": {},
            **{name: None if network is None else network.state_dict() for name, network in networks.items()},
        },
    )
    return folder


def vary_scores(network: Student, name: str) -> None:
    """Let an untrained network find several classes; without this it gives nearly the same score to all."""
    head = network.segmenter.decode_head
    classifier = getattr(head, "head", head).conv_seg
    torch.nn.init.normal_(classifier.weight, generator=torch.Generator().manual_seed(3))
