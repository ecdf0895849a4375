"""Writing a trained network for use elsewhere: its weights alone, or a program that runs without this package."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pgpc.classes import CITYSCAPES, ClassSet, classes_to_json
from pgpc.models.build import build_model
from pgpc.models.config import ModelConfig
from pgpc.models.segmenter import Segmenter
from pgpc.models.weight_files import read_weight_file
from pgpc.models.weights import load_weights
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file
from pgpc.runtime.json_text import parse_json


def export_weights(
    model: Segmenter, config: Mapping[str, Any], path: str | os.PathLike[str], classes: ClassSet = CITYSCAPES
) -> None:
    """Write a network's weights, the config it was trained with and its classes, for :func:`load_exported`.

    The file is that of ``torch.save`` and holds ``{"config": JSON text, "classes": list, "state_dict": weights}``. It
    is complete or not written at all; one that is there is replaced.

    Args:
        model: The network.
        config: The config as plain data, as :func:`pgpc.config.to_dict` gives it; its entry "model" says how the
            network is built.
        path: The file; its folder is made where there is none.
        classes: The classes that the network tells apart.

    Raises:
        ValueError: `path` is a folder.
    """
    check_export_file(path)
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    content = {"config": json.dumps(config), "classes": classes_to_json(classes), "state_dict": weights}
    write_file(Path(path), lambda file: torch.save(content, file))


def load_exported(path: str | os.PathLike[str]) -> Segmenter:
    """Read the network that :func:`export_weights` wrote, on the CPU and in evaluation mode.

    Args:
        path: The file.

    Raises:
        ValueError: The file cannot be read safely, or holds no such network.
        FileNotFoundError: There is no such file.
    """
    content = read_weight_file(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("config"), str) or "state_dict" not in content:
        raise ValueError(
            f"an exported network must have its config beside its weights, but {os.fspath(path)} does not. Write one "
            "with `pgpc export`; for other files use build_model and load_weights."
        )
    model = build_model(_model_config(content["config"], path), bands=_bands(content["config"]))
    load_weights(model, path)
    return model.eval()


def _model_config(text: str, path: str | os.PathLike[str]) -> ModelConfig:
    """Return the part of an exported config, which is JSON, that says how the network is built."""
    try:
        config = parse_json(text)
    except ValueError:
        config = None
    described = config.get("model", {}) if isinstance(config, Mapping) else None
    if not isinstance(described, Mapping):
        raise ValueError(
            f"an exported network must have its config beside its weights, but that of {os.fspath(path)} is "
            f"{text!r:.80}. Export the network again with `pgpc export`."
        )
    unknown = described.keys() - {field.name for field in dataclasses.fields(ModelConfig)}
    if unknown:
        raise ValueError(
            f"the config of an exported network must have known keys, but {os.fspath(path)} has "
            f"{', '.join(f'model.{name}' for name in sorted(unknown))}. Read it with the version of pgpc that wrote it."
        )
    # The file has all weights; the file of the initial ones may be on another machine.
    return ModelConfig(**{**described, "pretrained": ""})


def _bands(text: str) -> int:
    """Return the bands of the images that an exported config, which was read before, is for."""
    data = parse_json(text).get("data", {})
    return int(data.get("bands", 3)) if isinstance(data, Mapping) else 3


def export_program(model: Segmenter, path: str | os.PathLike[str], size: tuple[int, int]) -> None:
    """Write a network as a program of ``torch.export`` for images of one size.

    It maps images ``(B, bands, *size)``, in RGB normalized by ImageNet's statistics whatever the encoder, to logits
    ``(B, C, ~H/4, ~W/4)`` as `model` does in evaluation mode, for any B, or for B = 1 if the network's computation
    depends on B. ``torch.export.load(path).module()`` runs it, without this package. The file is complete or not
    written at all; one that is there is replaced.

    Args:
        model: The network; its mode is restored afterwards.
        path: The file; by custom its name ends in ".pt2".
        size: Height and width of the images in pixels.

    Raises:
        ValueError: The images are too small for the network, or `path` is a folder.
    """
    check_export_file(path)
    check(min(size) >= model.shortest_side, f"height and width must be at least {model.shortest_side}", size)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            # Two images, since a program that is traced with one is for one.
            images = torch.zeros(2, model.bands, *size, device=device)
            program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
            if not program.range_constraints:
                program = torch.export.export(model, (images[:1],))
    finally:
        model.train(was_training)
    write_file(Path(path), lambda file: torch.export.save(program, file))


def check_export_file(path: str | os.PathLike[str]) -> None:
    """Refuse, before anything is computed, to write an export where there is a folder."""
    check(not os.path.isdir(path), "an export must be written to a file", str(path), "That is a folder.")
