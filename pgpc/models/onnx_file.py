"""Writing a trained network as ONNX, which runtimes of many languages and devices read without this package."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgpc.classes import CITYSCAPES, ClassSet, classes_to_json
from pgpc.data.config import DataConfig
from pgpc.data.pixel_form import RGB
from pgpc.models.export import check_export_file
from pgpc.models.hrda import HRDA
from pgpc.models.segmenter import Segmenter
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_TRACED = (2, 96, 160)
"""Images, height and width that the network is traced with; two, since a program that is traced with one is for one."""
_CHECKED = ((1, 64, 128), (3, 97, 131))
"""The same of the images that the file is checked with: others in all three, the last no multiple of any stride."""
_TOLERANCE = 1e-4
"""Largest difference of two logits, as a share of the largest logit where that is above 1."""


def export_onnx(
    model: Segmenter, data: DataConfig, path: str | os.PathLike[str], classes: ClassSet = CITYSCAPES
) -> None:
    """Write a network as an ONNX file for images of any number and size, after checking it with onnxruntime.

    It maps normalized images ``images`` ``(B, bands, H, W)`` to ``logits`` ``(B, C, ~H/4, ~W/4)``, both float32, as
    `model` does in evaluation mode. The file's metadata say, each as JSON, how images are prepared and what comes out:
    see :func:`metadata`. The file is complete or not written at all; one that is there is replaced.

    Args:
        model: The network, on the CPU; its mode is restored afterwards.
        data: What images were made into in training.
        path: The file; by custom its name ends in ".onnx".
        classes: The classes that the network tells apart.

    Raises:
        ValueError: A package is missing; the network cannot be written for images of any size; the file computes other
            logits than the network; or `path` is a folder.
    """
    check_export_file(path)
    _check_packages()
    if isinstance(model, HRDA):
        raise ValueError(
            "A network of architecture 'hrda' cannot be written as ONNX for images of any size, since the number of "
            "crops that it computes follows from the size; use --format program, which is for images of one size."
        )
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), _silence():
            content = _with_metadata(_converted(model), metadata(model, data, classes))
            _check_same(model, content)
    finally:
        model.train(was_training)
    write_file(Path(path), lambda file: file.write(content))


def metadata(model: Segmenter, data: DataConfig, classes: ClassSet) -> dict[str, Any]:
    """Return what who runs the file must know, by the name of its entry.

    ``classes`` are the names and colors of the channels. An image is resized bilinearly or otherwise (``resize``: the
    box, how it is fitted, the interpolation), and a pixel of it is ``(value - mean) / std`` of each band, in the units
    of the files; ``channels`` is "RGB" where these are red, green and blue of 8 bits, else it counts the bands.
    ``bits`` are those of a value in the file. ``shortest_side`` is the least height and width. Logits are brought to
    the size of the picture bilinearly, with ``align_corners`` as it says; the class is the channel with the highest.

    Args:
        model: The network.
        data: What images were made into in training.
        classes: The classes.
    """
    width, height = data.target_size
    return {
        "classes": classes_to_json(classes),
        "channels": "RGB" if data.pixels == RGB else data.bands,
        "bits": data.bits,
        "mean": data.normalization.mean,
        "std": data.normalization.std,
        "resize": {"width": width, "height": height, "fit": data.fit, "interpolation": data.interpolation},
        "shortest_side": model.shortest_side,
        "align_corners": model.align_corners,
    }


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            raise ValueError(
                f"--format onnx needs {', '.join(_PACKAGES)}, but {name} is missing. Install them with `pip install "
                '"pgpc[onnx]"`.'
            ) from None


def _converted(model: Segmenter) -> Any:
    """Return the network as an ONNX model with three free sizes."""
    count, height, width = _TRACED
    images, free = torch.zeros(count, model.bands, height, width), torch.export.Dim.DYNAMIC
    try:
        program = torch.export.export(model, (images,), dynamic_shapes=({0: free, 2: free, 3: free},))
        converted = torch.onnx.export(
            program, (images,), input_names=["images"], output_names=["logits"], verbose=False
        )
    except Exception as error:  # torch raises a dozen types for what it cannot trace
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(
            f"The network cannot be written as ONNX for images of any size ({reason:.200}); use --format program, "
            "which is for images of one size."
        ) from error
    assert converted is not None, "the exporter gives a model"
    return converted.model_proto


def _with_metadata(model: Any, entries: Mapping[str, Any]) -> bytes:
    """Return an ONNX model with metadata, as bytes."""
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    axes = ("batch", "height", "width")
    for axis, name in zip((0, 2, 3), axes, strict=True):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    written: bytes = model.SerializeToString()
    return written


def _check_same(model: Segmenter, content: bytes) -> None:
    """Compare what onnxruntime computes with the network, on images of two sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for count, height, width in _CHECKED:
        images = torch.randn(count, model.bands, height, width, generator=generator)
        try:
            found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        except Exception as error:  # onnxruntime's own types, which it does not document
            raise ValueError(
                f"The ONNX file must take images of any size, but onnxruntime fails at {height} x {width} "
                f"({str(error).strip():.200}); use --format program, which is for images of one size."
            ) from error
        _compare(model(images), found, (height, width))


def _compare(expected: Tensor, found: Tensor, size: tuple[int, int]) -> None:
    """Refuse logits ``(B, C, h, w)`` that are not those of the network."""
    height, width = size
    where = f"The ONNX file must compute what the network does, but at {height} x {width}"
    remedy = "Nothing was written; use --format program."
    if expected.shape != found.shape:
        raise ValueError(f"{where} its logits have the shape {(*found.shape,)}, not {(*expected.shape,)}. {remedy}")
    allowed = _TOLERANCE * max(float(expected.abs().max()), 1.0)
    difference = float((expected - found).abs().max())
    if not difference <= allowed:
        raise ValueError(f"{where} its logits differ by up to {difference:.3g} (at most {allowed:.3g}). {remedy}")
    if expected.shape[1] == 1:
        return
    two = expected.topk(2, dim=1).values
    clear = two[:, 0] - two[:, 1] > 2 * allowed  # elsewhere both are the highest, as far as can be told
    check(
        bool((expected.argmax(1) == found.argmax(1))[clear].all()),
        f"{where} it finds other classes, where it must find the same",
        "others",
        remedy,
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's exporter from telling a user about its own workings."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)
