"""Segmenting pictures without labels: photos in a folder, or the images of shards."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from pgpc.classes import CITYSCAPES, CLASSES, ClassSet
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.loader import read_image
from pgpc.data.shards.reader import Shards
from pgpc.data.transforms import whole_image
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.evaluation.overlay import draw_legend, draw_overlay
from pgpc.evaluation.segmentation import class_planes, logits, most_probable
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""What a file of a folder of photos may end with, in small or capital letters."""

_OTHER_SUFFIXES = (".heic", ".heif", ".avif", ".tif", ".tiff", ".gif", ".jp2", ".dng")

FORMATS = {"overlay": ".jpg", "colour": ".png", "train-ids": ".png", "label-ids": ".png", "confidence": ".png"}
"""What can be written of a picture, and how its file ends.

overlay: the picture under the colors of the classes. color: a palette PNG, whose pixel values are train ids.
train-ids, label-ids: gray PNGs, 0..C-1 and Cityscapes' own ids. confidence: a gray PNG, round(255 p), where p is the
softmax probability of the class.
"""

_LABEL_IDS = np.array([c.cityscapes_id for c in CLASSES], dtype=np.uint8)


class PredictionError(ValueError):
    """Pictures that were left out; the message lists all of them."""


class Segmented(NamedTuple):
    """A segmented picture.

    Attributes:
        ids: ``(H, W)`` uint8 train ids.
        confidence: ``(H, W)`` float32, softmax probability of that class, above 0 and at most 1.
    """

    ids: np.ndarray
    confidence: np.ndarray


class Picture(NamedTuple):
    """A picture to segment.

    Attributes:
        name: where results go below the folder of their format, with "/" between folders and without suffix.
        origin: for messages: the file, or the row of the shards.
        read: gives ``(H, W, 3)`` uint8 RGB.
    """

    name: str
    origin: str
    read: Callable[[], np.ndarray]


def segment(loaded: LoadedModel, image: np.ndarray) -> Segmented:
    """Segment one picture of any size.

    It is resized as images of the target are in training, goes through the network whole or in windows as the config
    says, and its logits are brought back to its own size.

    Args:
        loaded: in evaluation mode, as :func:`pgpc.evaluation.loaded_model.load_model` gives it, on any device.
        image: ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: `image` is no such array, or is so narrow that the network cannot take it.
    """
    check(
        image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8,
        "image must be (H, W, 3) uint8 RGB",
        (image.shape, str(image.dtype)),
    )
    model, data = loaded.student.segmenter, loaded.config.data
    pixels = whole_image(image, data.target_size, data.fit, data.interpolation)
    size = (pixels.shape[3], pixels.shape[2])
    check(
        min(size) >= model.shortest_side,
        f"a picture must be at least {model.shortest_side} pixels high and wide after resizing",
        size,
        "It is too narrow for data.target_size; cut it into parts.",
    )
    pixels = pixels.to(next(model.parameters()).device)
    with torch.inference_mode():
        resizing = logits(model, pixels, evaluation=loaded.config.evaluation), image.shape[:2], model.align_corners
        ids, highest = most_probable(*resizing)
        confidence = 1 / sum(torch.exp(plane - highest) for plane in class_planes(*resizing))
    return Segmented(ids.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy())


def label_ids(ids: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Train ids as Cityscapes' own ids, uint8.

    Raises:
        ValueError: the classes are not the 19 of Cityscapes.
    """
    check_cityscapes(classes, "Label ids are")
    return _LABEL_IDS[ids]


def check_cityscapes(classes: ClassSet, what: str) -> None:
    """Refuse other classes than the 19 of Cityscapes; `what` begins the message, with its verb.

    Raises:
        ValueError: they are others, or in another order.
    """
    check(
        classes.names == CITYSCAPES.names,
        f"{what} for networks on the 19 classes of Cityscapes alone",
        ", ".join(classes.names),
    )


def find_photos(where: Path, out: Path) -> list[Picture]:
    """The photos of a folder and its sub-folders, or one photo.

    Args:
        where: a folder, or a file, which may then have any suffix.
        out: is not searched.

    Raises:
        FileNotFoundError: there is nothing at `where`.
        ValueError: there is no photo in it, or it is itself `out`.
    """
    if where.is_file():
        return [_photo(where, where.parent)]
    if not where.is_dir():
        raise FileNotFoundError(f"No picture and no folder of pictures at {where}.")
    left_out = out.resolve()
    check(where.resolve() != left_out, "--out must be another folder than --input", str(out))
    files, others = [], []
    for parent, folders, names in os.walk(where, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".") and Path(parent, f).resolve() != left_out]
        shown = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [file for file in shown if file.name.lower().endswith(PHOTO_SUFFIXES)]
        others += [file for file in shown if file.name.lower().endswith(_OTHER_SUFFIXES)]
    check(
        bool(files),
        f"a folder of photos must hold files that end with {', '.join(PHOTO_SUFFIXES)}",
        str(where),
        "Convert pictures of other kinds first.",
    )
    # Pictures of other kinds are tried, and so reported, rather than passed over as a text file is.
    return [_photo(file, where) for file in sorted([*files, *others])]


def _photo(file: Path, root: Path) -> Picture:
    return Picture(file.relative_to(root).with_suffix("").as_posix(), str(file), functools.partial(_read_photo, file))


def _read_photo(file: Path) -> np.ndarray:
    return decode_image(read_file(file))


def shard_pictures(shards: Shards) -> list[Picture]:
    """The images of shards."""
    return [
        Picture(name, f"{name} (split {shards.split!r} of {shards.folder})", functools.partial(read_image, shards, row))
        for row, name in enumerate(shards.names)
    ]


def write_predictions(
    loaded: LoadedModel,
    pictures: Sequence[Picture],
    out: Path,
    formats: Sequence[str] = ("overlay", "train-ids"),
    *,
    skip_existing: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Segment pictures and write the results to ``out/{format}/{name}``, and their legend to ``out/legend.png``.

    Args:
        loaded: the network, on the device that is to work.
        pictures: a picture that cannot be read or segmented is left out, the others are written.
        out: folder; files in it are replaced.
        formats: of :data:`FORMATS`.
        skip_existing: leave pictures alone of which all results are there.
        on_progress: called with (pictures done, pictures in all).

    Raises:
        ValueError: an unknown format, or one that is not for these classes; two pictures with the same results, or
            results that would replace a picture. Nothing is written then.
        PredictionError: at the end, where pictures were left out.
    """
    check(set(formats) <= FORMATS.keys(), f"formats must be of {', '.join(FORMATS)}", list(formats))
    if "label-ids" in formats:
        check_cityscapes(loaded.classes, "Label ids are")
    _check_results(pictures, out, formats)
    if {"overlay", "colour"} & set(formats):
        write_file(out / "legend.png", lambda file: draw_legend(loaded.classes).save(file, "PNG"))
    problems = []
    for done, picture in enumerate(pictures, 1):
        results = _results(picture, out, formats)
        if not (skip_existing and all(file.exists() for file in results.values())):
            try:
                image = picture.read()
                segmented = segment(loaded, image)
            except ValueError as error:
                problems.append(f"{picture.origin}: {error}")
            else:
                for name, file in results.items():
                    _write(file, _draw(name, image, segmented, loaded.classes))
        if on_progress is not None:
            on_progress(done, len(pictures))
    if problems:
        count = f"{len(problems)} of {len(pictures)}"
        raise PredictionError("\n".join([f"{count} pictures were left out, the others are written:", *problems]))


def _results(picture: Picture, out: Path, formats: Sequence[str]) -> dict[str, Path]:
    return {name: out / name / f"{picture.name}{FORMATS[name]}" for name in formats}


def _check_results(pictures: Sequence[Picture], out: Path, formats: Sequence[str]) -> None:
    same = defaultdict(list)
    for picture in pictures:
        name = PurePosixPath(picture.name)
        check(not name.is_absolute() and ".." not in name.parts, "a picture's name must lie below --out", str(name))
        same[name].append(picture.origin)
    twice = ["; ".join(origins) for origins in same.values() if len(origins) > 1]
    if twice:
        raise ValueError(
            "\n".join(["Pictures of one folder must differ in more than their suffix; rename one of each:", *twice])
        )
    originals = {Path(picture.origin).resolve() for picture in pictures}
    for picture in pictures:
        for file in _results(picture, out, formats).values():
            check(
                file.resolve() not in originals, "results must not replace pictures", str(file), "Choose another --out."
            )


def _draw(name: str, image: np.ndarray, segmented: Segmented, classes: ClassSet) -> Image.Image:
    if name == "overlay":
        return draw_overlay(image, segmented.ids, classes)
    if name == "confidence":
        return Image.fromarray(np.rint(255 * segmented.confidence).astype(np.uint8))
    if name == "label-ids":
        return Image.fromarray(label_ids(segmented.ids, classes))
    drawn = Image.fromarray(segmented.ids)
    if name == "colour":
        drawn.putpalette([value for color in classes.colors for value in color])
    return drawn


def _write(file: Path, drawn: Image.Image) -> None:
    if file.suffix == ".jpg":
        write_file(file, lambda opened: drawn.save(opened, "JPEG", quality=92, subsampling=0))
    else:
        write_file(file, lambda opened: drawn.save(opened, "PNG"))
