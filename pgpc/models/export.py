"""Writing a trained network for use elsewhere: its weights alone, or a program that runs without this package."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from pgpc.classes import CITYSCAPES, ClassSet, classes_to_json
from pgpc.config import Config, from_dict, override, to_dict
from pgpc.models.build import build_model
from pgpc.models.segmenter import Segmenter
from pgpc.models.weight_files import read_weight_file
from pgpc.models.weights import load_weights
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file


def export_weights(
    model: Segmenter, config: Config, path: str | os.PathLike[str], classes: ClassSet = CITYSCAPES
) -> None:
    """Write a network's weights, the config it was built from and its classes, for :func:`load_exported`.

    The file is that of ``torch.save`` and holds ``{"config": JSON text, "classes": list, "state_dict": weights}``. It
    is complete or not written at all; one that is there is replaced.

    Raises:
        ValueError: `path` is a folder.
    """
    _check_file(path)
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    content = {"config": json.dumps(to_dict(config)), "classes": classes_to_json(classes), "state_dict": weights}
    write_file(Path(path), lambda file: torch.save(content, file))


def load_exported(path: str | os.PathLike[str]) -> Segmenter:
    """The network that :func:`export_weights` wrote, on the CPU in evaluation mode.

    Raises:
        ValueError: the file cannot be read safely, or holds no such network.
        FileNotFoundError: there is no such file.
    """
    content = read_weight_file(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("config"), str) or "state_dict" not in content:
        raise ValueError(
            f"an exported network must have its config beside its weights, but {os.fspath(path)} does not. Write one "
            "with `pgpc export`; for other files use build_model and load_weights."
        )
    # The file has all weights; the file of the initial ones may be on another machine.
    config = override(from_dict(json.loads(content["config"])), {"model.pretrained": ""})
    model = build_model(config.model)
    load_weights(model, path)
    return model.eval()


def export_program(model: Segmenter, path: str | os.PathLike[str], size: tuple[int, int]) -> None:
    """Write a network as a program of ``torch.export`` for images of one size.

    It maps normalized images (B, 3, *size) to logits (B, C, ~H/4, ~W/4) as `model` does in evaluation mode, for any B,
    or for B = 1 if the network's computation depends on B. ``torch.export.load(path).module()`` runs it, without this
    package. The file is complete or not written at all; one that is there is replaced.

    Args:
        model: its mode is restored afterwards.
        path: of the file; by custom it ends in ".pt2".
        size: height and width of the images in pixels.

    Raises:
        ValueError: the images are too small for the network, or `path` is a folder.
    """
    _check_file(path)
    check(min(size) >= model.shortest_side, f"height and width must be at least {model.shortest_side}", size)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            # Two images, since a program that is traced with one is for one.
            images = torch.zeros(2, 3, *size, device=device)
            program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
            if not program.range_constraints:
                program = torch.export.export(model, (images[:1],))
    finally:
        model.train(was_training)
    write_file(Path(path), lambda file: torch.export.save(program, file))


def _check_file(path: str | os.PathLike[str]) -> None:
    check(not os.path.isdir(path), "an export must be written to a file", str(path), "That is a folder.")
