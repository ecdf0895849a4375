"""Zip files for the servers of benchmarks: they are checked for what a server would refuse, and written."""

from __future__ import annotations

import functools
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from pgpc.data.image_files import read_file, read_header
from pgpc.data.image_limits import PictureError
from pgpc.data.label_files import decode_label
from pgpc.data.samples import read_image
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.benchmarks import BENCHMARKS, Benchmark
from pgpc.evaluation.formats import Segmented, check_cityscapes
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.evaluation.prediction import segment
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold; the same predictions are to give the same bytes


class SubmissionError(ValueError):
    """Predictions that a server would refuse; the message lists all that is wrong."""


class Prediction(NamedTuple):
    """A test image and how to segment it.

    Attributes:
        name: Name of the image, with folders.
        size: Width and height in pixels.
        read: Function that segments it, or reads what it was segmented to.
    """

    name: str
    size: tuple[int, int]
    read: Callable[[], Segmented]


def shard_predictions(loaded: LoadedModel, shards: Shards) -> list[Prediction]:
    """Return the images of shards, which are segmented when they are packed.

    Args:
        loaded: The network.
        shards: The images of the test set.

    Raises:
        ValueError: The network is not on the 19 classes of Cityscapes.
    """
    check_cityscapes(loaded.classes, "The benchmarks are")

    def predict(row: int) -> Segmented:
        return segment(loaded, read_image(shards, row))

    sizes = [(int(width), int(height)) for width, height in shards.sizes]
    return [
        Prediction(name, size, functools.partial(predict, row))
        for row, (name, size) in enumerate(zip(shards.names, sizes, strict=True))
    ]


def written_predictions(folder: Path, benchmark: str) -> list[Prediction]:
    """Find what ``pgpc predict`` wrote.

    Args:
        folder: Its ``--out``, with a folder for each of the benchmark's formats.
        benchmark: Name of a benchmark, of :data:`pgpc.evaluation.benchmarks.BENCHMARKS`.

    Raises:
        ValueError: There is no such benchmark, or no such folder of results.
        SubmissionError: Files in it are no pictures.
    """
    kinds = _benchmark(benchmark).formats
    for kind in kinds:
        check(
            (folder / kind).is_dir(),
            f"--predictions must be a folder of `pgpc predict` with {' and '.join(kinds)}",
            str(folder),
            f"Run it with {' '.join(f'--format {k}' for k in kinds)}.",
        )
    predictions, problems = [], []
    for file in sorted((folder / "train-ids").rglob("*.png")):
        try:
            predictions.append(_written(file, folder, with_confidence="confidence" in kinds))
        except PictureError as error:
            problems.append(f"{file}: {error}")
    _refuse(BENCHMARKS[benchmark], problems)
    return predictions


def _written(file: Path, folder: Path, *, with_confidence: bool) -> Prediction:
    place = file.relative_to(folder / "train-ids")

    def read() -> Segmented:
        ids = _read_gray(file)
        if not with_confidence:
            return Segmented(ids, np.ones(ids.shape, dtype=np.float32))
        confidence = _read_gray(folder / "confidence" / place)
        check(confidence.shape == ids.shape, f"confidence must have the size of the ids, {ids.shape}", confidence.shape)
        return Segmented(ids, confidence.astype(np.float32) / 255)

    return Prediction(place.with_suffix("").as_posix(), read_header(read_file(file)), read)


def _read_gray(file: Path) -> np.ndarray:
    pixels = decode_label(read_file(file))
    check(pixels.dtype == np.uint8, "results of `pgpc predict` have 8 bits", f"16 in {file}")
    return pixels


def write_submission(
    name: str,
    predictions: Sequence[Prediction],
    out: Path,
    *,
    allow_incomplete: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the zip for a benchmark's server. Equal predictions give equal bytes.

    Args:
        name: Name of a benchmark, of :data:`pgpc.evaluation.benchmarks.BENCHMARKS`.
        predictions: One prediction for each image of the test set.
        out: The zip; it appears when all is written.
        allow_incomplete: Whether to let images be missing, to try the command out; servers take complete sets alone.
        on_progress: Function that is called with the number of images done and in all.

    Raises:
        ValueError: There is no such benchmark.
        SubmissionError: The server would refuse names, sizes, numbers or ids, or files cannot be read.
    """
    benchmark = _benchmark(name)
    keyed = _keyed(benchmark, predictions, allow_incomplete)

    def write(file: IO[bytes]) -> None:
        problems = []
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # PNGs are compressed already
            for done, key in enumerate(sorted(keyed), 1):
                try:
                    _pack(packed, key, _checked(keyed[key], benchmark), benchmark)
                except ValueError as error:
                    problems.append(f"{keyed[key].name}: {error}")
                if on_progress is not None:
                    on_progress(done, len(keyed))
        _refuse(benchmark, problems)

    write_file(out, write)


def _keyed(benchmark: Benchmark, predictions: Sequence[Prediction], allow_incomplete: bool) -> dict[str, Prediction]:
    """Return predictions by what names them on the server; refuse what can be seen without segmenting anything."""
    pattern = re.compile(f"({benchmark.key})({benchmark.suffix})?")
    problems: list[str] = []
    keyed: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        match = pattern.fullmatch(prediction.name.rpartition("/")[2])
        if match is None:
            problems.append(f"{prediction.name}: named otherwise than the test set, {benchmark.key}")
            continue
        keyed[match[1]].append(prediction)
        if prediction.size != benchmark.size:
            problems.append(f"{prediction.name}: {_by(prediction.size)} pixels instead of {_by(benchmark.size)}")
    problems += [
        f"{key}: {len(same)} predictions instead of one: {', '.join(p.name for p in same)}"
        for key, same in keyed.items()
        if len(same) > 1
    ]
    if len(keyed) > benchmark.images or not keyed or (len(keyed) < benchmark.images and not allow_incomplete):
        problems.append(f"{len(keyed)} images instead of {benchmark.images}")
    _refuse(benchmark, problems)
    return {key: same[0] for key, same in keyed.items()}


def _benchmark(name: str) -> Benchmark:
    check(name in BENCHMARKS, f"benchmark must be one of {', '.join(BENCHMARKS)}", name)
    return BENCHMARKS[name]


def _refuse(benchmark: Benchmark, problems: list[str]) -> None:
    if problems:
        rule = f"Predictions must be those of the test set of {benchmark.name}; no zip was written."
        raise SubmissionError("\n".join([rule, *problems]))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _checked(prediction: Prediction, benchmark: Benchmark) -> Segmented:
    num_classes = len(benchmark.classes.names)
    segmented = prediction.read()
    width, height = prediction.size
    assert segmented.ids.shape == (height, width), "a prediction has the size that it was announced with"
    check(
        segmented.ids.max() < num_classes,
        f"a prediction must be train ids, 0 to {num_classes - 1} at every pixel",
        int(segmented.ids.max()),
    )
    return segmented


def _pack(packed: zipfile.ZipFile, key: str, segmented: Segmented, benchmark: Benchmark) -> None:
    for folder, pixels in benchmark.entries(segmented).items():
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        entry = zipfile.ZipInfo(f"{folder}{key}.png", _DATE)
        entry.create_system, entry.external_attr = 3, 0o644 << 16  # as made on Unix, on every system
        packed.writestr(entry, encoded.getvalue())
