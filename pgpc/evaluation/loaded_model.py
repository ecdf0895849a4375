"""A trained network, read back from whatever file holds one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pgpc.classes import ClassSet, classes_from_json
from pgpc.config import Config, from_text, override
from pgpc.evaluation.formats import Segmented
from pgpc.evaluation.names import Network
from pgpc.evaluation.one_picture import AnyPicture, pixels_of, segment_picture
from pgpc.models.checkpoint import BEST, CHECKPOINT, fetched, fetched_file, read_checkpoint
from pgpc.models.student import Student
from pgpc.models.undrawn import without_draws
from pgpc.models.weight_files import read_weight_file
from pgpc.models.weights import load_weights
from pgpc.runtime.storage import is_url

log = logging.getLogger(__name__)


class LoadedModel(NamedTuple):
    """A network and what is known of it.

    A picture is segmented by ``labels, confidence = pgpc.load_model("runs/a").predict("photo.jpg")``.

    Attributes:
        student: The network, on the CPU and in evaluation mode; that of an export has no projection head.
        config: The config that it was trained with.
        classes: The classes that it tells apart.
        iteration: The number of optimizer steps done; None for an exported network.
        file: The file that it was read from.
        has_teacher: Whether the file has a teacher, beside the student.
    """

    student: Student
    config: Config
    classes: ClassSet
    iteration: int | None
    file: Path
    has_teacher: bool = False

    @contextlib.contextmanager
    def in_precision(self) -> Iterator[None]:
        """Let the network compute as in training for a while, where it is on a GPU; elsewhere in float32."""
        device = next(self.student.segmenter.parameters()).device
        on_gpu = device.type == "cuda"
        with torch.no_grad(), self.student.in_precision(device) if on_gpu else contextlib.nullcontext():
            yield

    def predict(
        self, image: AnyPicture, *, scales: Sequence[float] | None = None, flip: bool | None = None
    ) -> Segmented:
        """Segment one picture of any size, on the device of the network.

        It is resized as images of the target are in training, goes through the network whole or in windows as the
        config says, and the result has the picture's own size.

        Args:
            image: A file, a picture of Pillow, or an array ``(H, W, 3)`` or, gray, ``(H, W)``, uint8, in RGB. For a
                network on other images a file, or an array ``(H, W, bands)`` of their values.
            scales: Sizes that it is segmented at, as multiples of its own after resizing; the class probabilities are
                averaged. None takes ``evaluation.scales`` of the config.
            flip: Whether it is also segmented mirrored; None takes ``evaluation.flip``.

        Returns:
            A pair of arrays ``(H, W)``: train ids, uint8, whose names and colors are in `classes`, and the probability
            that the network gives them, float32.

        Raises:
            ValueError: `image` is none of these, cannot be read or decoded, or is so narrow that the network cannot
                take it; or a scale is out of range.
        """
        said = {"evaluation.scales": None if scales is None else tuple(scales), "evaluation.flip": flip}
        changes = {key: value for key, value in said.items() if value is not None}
        config = override(self.config, changes) if changes else self.config
        return segment_picture(self.student.segmenter, config, pixels_of(image, self.config.data.pixels))


def load_model(path: Path | str, network: Network = "student") -> LoadedModel:
    """Read a network from a run, a checkpoint or an export.

    Args:
        path: A run's folder, which holds ``checkpoint.pt``, or its address on S3; a checkpoint of any name, such as a
            run's ``best.pt``; or a file that ``pgpc export`` wrote.
        network: Which of a checkpoint's two networks.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It holds no network of pgpc, or is damaged, or has no such network.
    """
    if is_url(path) and path.endswith(f"/{BEST}"):
        with fetched_file(path) as file:
            return load_model(file, network)
    if is_url(path):
        with fetched(path) as folder:
            return load_model(folder, network)
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No checkpoint at {path}. Give a run's folder, or a file of `pgpc export`.")
    if path.is_dir() or path.name == CHECKPOINT:
        folder = path if path.is_dir() else path.parent
        return _from_checkpoint(read_checkpoint(folder), folder / CHECKPOINT, network)
    content = read_weight_file(path)
    if isinstance(content, Mapping) and {"config", "step", "student"} <= content.keys():
        return _from_checkpoint(content, path, network)
    if not isinstance(content, Mapping) or not isinstance(content.get("config"), str) or "state_dict" not in content:
        raise ValueError(
            f"{path} must be a checkpoint or an exported network, but holds no config beside its weights. Give a run's "
            "folder, or a file of `pgpc export`; weights of other projects are read with model.pretrained."
        )
    _check_network(content, network, path)
    # Low-rank matrices have been merged, and no part of it is left out.
    complete = {"model.finetuning": "whole", "model.pretrained": None}
    config = override(_config(content, path), {"contrast.enabled": False, **complete})
    student = _empty_student(config).eval()
    load_weights(student.segmenter, path)
    return LoadedModel(student, config, _classes(content, config), None, path)


def _from_checkpoint(state: Mapping[str, Any], path: Path, network: Network) -> LoadedModel:
    _check_network(state, network, path)
    config = _config(state, path)
    with without_draws():
        student = _empty_student(config)
    student.load_state_dict(state[network])
    has_teacher = state.get("teacher") is not None
    _warn_of_changed_data(state, path)
    return LoadedModel(student.merge().eval(), config, _classes(state, config), state["step"], path, has_teacher)


def _warn_of_changed_data(state: Mapping[str, Any], path: Path) -> None:
    """Say of a network that the contents of its data were exchanged while it was trained."""
    for start in state.get("starts", ()):
        if start["changed"]:
            log.warning(
                "The network in %s was trained on other contents of the %s from iteration %d on than before.",
                path,
                ", ".join(start["changed"]),
                start["step"],
            )


def _empty_student(config: Config) -> Student:
    """Return a network of the config's structure, whose weights are yet to be read."""
    contrast = config.contrast
    return Student(
        config.model,
        projection=(contrast.hidden, contrast.dim) if contrast.enabled else None,
        project_last=contrast.maps == "last",
        precision=config.training.precision,
        bands=config.data.bands,
        masks_tokens=config.adaptation.masks_tokens,
    )


def _check_network(content: Mapping[str, Any], network: Network, path: Path) -> None:
    if network == "teacher" and content.get("teacher") is None:
        raise ValueError(
            f"--network {network} must be in the checkpoint, but {path} has no teacher: the run trains without one, or "
            "the file is an export. Take the student."
        )


def _config(content: Mapping[str, Any], path: Path) -> Config:
    config = from_text(content["config"], path)
    # A checkpoint that has all weights needs no file of the initial ones, which may be on another machine.
    return config if config.model.leaves_out else override(config, {"model.pretrained": None})


def _classes(content: Mapping[str, Any], config: Config) -> ClassSet:
    return classes_from_json(content.get("classes"), config.model.num_classes)
