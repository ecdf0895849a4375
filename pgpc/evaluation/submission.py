"""The zip files that the servers of three benchmarks take, whose test labels are kept back.

None of the servers was asked; what they take is known from:

- Cityscapes: ``evalPixelLevelSemanticLabeling.py`` of github.com/mcordts/cityscapesScripts finds the prediction of an
  image anywhere in the zip as ``{city}_{sequence}_{frame}*.png`` and refuses a second one. Label ids and exactly one
  file per test image, by its maintainer (issues 15 and 65).
- Dark Zurich: folders ``labelTrainIds``, ``labelTrainIds_invalid`` and ``confidence`` of files named
  ``{sequence}_frame_{frame}*.png``, by those who submitted: github.com/BIT-DA/SePiCo (README), W-zx-Y/DANNet (issues 4,
  11 and 17), ygjwd12345/BiMix (issues 1 and 7). The server computes IoU from the first, UIoU and average UIoU from the
  others. That confidence has 16 bits, 65535 for 1, is from ``predict_dz.py`` of github.com/Attila94/CIConv alone.
- ACDC: train ids of 1920 x 1080, quoted from the server's page by the README of DTBS; a folder ``labelTrainIds`` of
  files named after their images, as DAFormer, HRDA and MIC (README, "Testing") and VBLC write it. MUSES, by the same
  authors, asks for ``labelTrainIds/`` with ``{sequence}_frame_{frame:0>6}*.png`` (github.com/timbroed/MUSES, issue 4).

Limits on the size of an upload are not known.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from pgpc.classes import CITYSCAPES, NUM_CLASSES
from pgpc.data.image_files import PictureError, decode_label, read_file, read_header
from pgpc.data.loader import read_image
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.evaluation.prediction import Segmented, check_cityscapes, label_ids, segment
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file

_GOPRO = r"[A-Z0-9]+_frame_\d{6}"  # Dark Zurich and ACDC were filmed with the same kind of camera
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold; the same predictions are to give the same bytes


class SubmissionError(ValueError):
    """Predictions that a server would refuse; the message lists all that is wrong."""


class Benchmark(NamedTuple):
    """A test set with a server.

    Attributes:
        name: what users call it.
        count: images of the test set.
        size: their width and height.
        key: pattern that names an image uniquely, the begin of its file's name.
        suffix: what the names of the data set's own files have behind the key.
        entries: a segmented image as the zip's folder to the pixels of the PNG in it.
    """

    name: str
    count: int
    size: tuple[int, int]
    key: str
    suffix: str
    entries: Callable[[Segmented], dict[str, np.ndarray]]


class Prediction(NamedTuple):
    """A test image and how to segment it.

    Attributes:
        name: of the image, with folders.
        size: its width and height.
        read: segments it, or reads what it was segmented to.
    """

    name: str
    size: tuple[int, int]
    read: Callable[[], Segmented]


def _cityscapes(segmented: Segmented) -> dict[str, np.ndarray]:
    return {"": label_ids(segmented.ids, CITYSCAPES)}


def _dark_zurich(segmented: Segmented) -> dict[str, np.ndarray]:
    return {
        "labelTrainIds/": segmented.ids,
        "labelTrainIds_invalid/": segmented.ids,  # a pixel may be called invalid (255) here; we call none so
        "confidence/": np.rint(65535 * segmented.confidence).astype(np.uint16),
    }


def _acdc(segmented: Segmented) -> dict[str, np.ndarray]:
    return {"labelTrainIds/": segmented.ids}


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "cityscapes",
            1525,
            (2048, 1024),
            r"(berlin|bielefeld|bonn|leverkusen|mainz|munich)_\d{6}_\d{6}",
            "_leftImg8bit",
            _cityscapes,
        ),
        Benchmark("darkzurich", 151, (1920, 1080), _GOPRO, "_rgb_anon", _dark_zurich),
        Benchmark("acdc", 2000, (1920, 1080), _GOPRO, "_rgb_anon", _acdc),
    )
}
"""All benchmarks by name."""


def shard_predictions(loaded: LoadedModel, shards: Shards) -> list[Prediction]:
    """The images of shards, which are segmented when they are packed.

    Raises:
        ValueError: the network is not on the 19 classes of Cityscapes.
    """
    check_cityscapes(loaded.classes, "The benchmarks are")

    def predict(row: int) -> Segmented:
        return segment(loaded, read_image(shards, row))

    sizes = [(int(width), int(height)) for width, height in shards.sizes]
    return [
        Prediction(name, size, lambda row=row: predict(row))
        for row, (name, size) in enumerate(zip(shards.names, sizes, strict=True))
    ]


def written_predictions(folder: Path, benchmark: str) -> list[Prediction]:
    """What ``pgpc predict`` wrote.

    Args:
        folder: its ``--out``, with "train-ids" and, for Dark Zurich, "confidence".
        benchmark: of :data:`BENCHMARKS`.

    Raises:
        ValueError: there is no such folder of results.
        SubmissionError: files in it are no pictures.
    """
    kinds = ["train-ids", *(["confidence"] if benchmark == "darkzurich" else [])]
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
        name: of :data:`BENCHMARKS`.
        predictions: one for each image of the test set.
        out: the zip; it appears when all is written.
        allow_incomplete: let images be missing, for a trial; servers take complete sets alone.
        on_progress: called with (images done, images in all).

    Raises:
        ValueError: no such benchmark.
        SubmissionError: names, sizes, numbers or ids that the server would refuse, or files that cannot be read.
    """
    check(name in BENCHMARKS, f"benchmark must be one of {', '.join(BENCHMARKS)}", name)
    benchmark = BENCHMARKS[name]
    keyed = _keyed(benchmark, predictions, allow_incomplete)

    def write(file: IO[bytes]) -> None:
        problems = []
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # PNGs are compressed already
            for done, key in enumerate(sorted(keyed), 1):
                try:
                    _pack(packed, key, _checked(keyed[key]), benchmark)
                except ValueError as error:
                    problems.append(f"{keyed[key].name}: {error}")
                if on_progress is not None:
                    on_progress(done, len(keyed))
        _refuse(benchmark, problems)

    write_file(out, write)


def _keyed(benchmark: Benchmark, predictions: Sequence[Prediction], allow_incomplete: bool) -> dict[str, Prediction]:
    """Predictions by what names them on the server; refuses what can be seen without segmenting anything."""
    pattern = re.compile(f"({benchmark.key})({benchmark.suffix})?")
    problems, keyed = [], defaultdict(list)
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
    if len(keyed) > benchmark.count or not keyed or (len(keyed) < benchmark.count and not allow_incomplete):
        problems.append(f"{len(keyed)} images instead of {benchmark.count}")
    _refuse(benchmark, problems)
    return {key: same[0] for key, same in keyed.items()}


def _refuse(benchmark: Benchmark, problems: list[str]) -> None:
    if problems:
        rule = f"Predictions must be those of the test set of {benchmark.name}; no zip was written."
        raise SubmissionError("\n".join([rule, *problems]))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _checked(prediction: Prediction) -> Segmented:
    segmented = prediction.read()
    width, height = prediction.size
    assert segmented.ids.shape == (height, width), "a prediction has the size that it was announced with"
    check(
        segmented.ids.max() < NUM_CLASSES,
        f"a prediction must be train ids, 0 to {NUM_CLASSES - 1} at every pixel",
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
