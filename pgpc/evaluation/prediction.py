"""Segmenting pictures without labels: photos in a folder, or the images of shards."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from pgpc.data.image_files import decode_image, read_file
from pgpc.data.image_limits import PictureError
from pgpc.data.picture_names import OTHER_SUFFIXES, READABLE_SUFFIXES
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.samples import read_image
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.formats import DEFAULT_FORMATS, FORMATS, Format, Segmented, check_cityscapes
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.evaluation.made_by import Maker
from pgpc.evaluation.one_picture import segment_picture
from pgpc.evaluation.overlay import draw_legend, picture_of
from pgpc.runtime.checks import PartlyFailed, check
from pgpc.runtime.files import write_file
from pgpc.runtime.locks import sole_writer

log = logging.getLogger(__name__)

_OF_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of writing that the next picture would meet, too."""


class PredictionError(ValueError):
    """All pictures were left out; the message lists them."""


class PartlyPredicted(PredictionError, PartlyFailed):
    """Some pictures were left out, which the message lists; the others are written."""


class Picture(NamedTuple):
    """A picture to segment.

    Attributes:
        name: Where results go below the folder of their format, with "/" between folders and without suffix.
        origin: The file, or the row of the shards, for messages.
        read: Function that reads the pixels, ``(H, W, bands)``, uint8 RGB where the network is for photos.
    """

    name: str
    origin: str
    read: Callable[[], np.ndarray]


def segment(loaded: LoadedModel, image: np.ndarray) -> Segmented:
    """Segment one picture of any size.

    It is resized as images of the target are in training, goes through the network whole or in windows as the config
    says, and its logits are brought back to its own size.

    Args:
        loaded: A network in evaluation mode, as :func:`pgpc.evaluation.loaded_model.load_model` gives it, on any
            device.
        image: Picture ``(H, W, 3)``, uint8 RGB.

    Raises:
        ValueError: `image` is no such array, or is so narrow that the network cannot take it.
    """
    return segment_picture(loaded.student.segmenter, loaded.config, image)


def find_photos(where: Path, out: Path, form: PixelForm = RGB) -> list[Picture]:
    """Find the photos of a folder and its sub-folders, or one photo.

    Args:
        where: A folder, or a file, which may then have any suffix.
        out: A folder that is not searched.
        form: The bands and bits that photos must have.

    Raises:
        FileNotFoundError: There is nothing at `where`.
        ValueError: There is no photo in it, or it is itself `out`.
    """
    if where.is_file():
        return [_photo(where, where.parent, form)]
    if not where.is_dir():
        raise FileNotFoundError(f"No picture and no folder of pictures at {where}.")
    left_out = out.resolve()
    check(where.resolve() != left_out, "--out must be another folder than --input", str(out))
    unreadable: list[Picture] = []
    files, others = [], []
    seen = {where.resolve()}
    for parent, folders, names in os.walk(where, followlinks=True, onerror=lambda e: unreadable.append(_unreadable(e))):
        folders[:] = [f for f in folders if not f.startswith(".") and _is_new(Path(parent, f), seen, left_out)]
        shown = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [file for file in shown if file.name.lower().endswith(READABLE_SUFFIXES)]
        others += [file for file in shown if file.name.lower().endswith(OTHER_SUFFIXES)]
    check(
        bool(files or unreadable),
        f"a folder of photos must hold files that end with {', '.join(READABLE_SUFFIXES)}",
        str(where),
        "Convert pictures of other kinds first.",
    )
    # Pictures of other kinds are tried, and so reported, rather than passed over as a text file is.
    return [*(_photo(file, where, form) for file in sorted([*files, *others])), *unreadable]


def _is_new(folder: Path, seen: set[Path], left_out: Path) -> bool:
    """Return whether a folder is to be searched, and note it: links may lead in circles, or to one folder twice."""
    real = folder.resolve()
    if real == left_out or real in seen:
        return False
    seen.add(real)
    return True


def _unreadable(error: OSError) -> Picture:
    """Return what stands for the pictures of a folder that cannot be listed, so that it is reported as they are."""

    def read() -> np.ndarray:
        raise PictureError(f"the folder cannot be read ({error.strerror})")

    name = "/".join(part for part in Path(error.filename).parts if part not in ("/", ".."))
    return Picture(name, str(error.filename), read)


def _photo(file: Path, root: Path, form: PixelForm) -> Picture:
    name = file.relative_to(root).with_suffix("").as_posix()
    return Picture(name, str(file), functools.partial(_read_photo, file, form))


def _read_photo(file: Path, form: PixelForm) -> np.ndarray:
    return decode_image(read_file(file), form=form)


def shard_pictures(shards: Shards) -> list[Picture]:
    """Return the images of shards as pictures."""
    return [
        Picture(name, f"{name} (split {shards.split!r} of {shards.folder})", functools.partial(read_image, shards, row))
        for row, name in enumerate(shards.names)
    ]


def write_predictions(
    loaded: LoadedModel,
    pictures: Sequence[Picture],
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    skip_existing: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Segment pictures and write the results to ``out/{format}/{name}``, and their legend to ``out/legend.png``.

    What has made them stands in ``out/made_by.json``; a folder is of one network, and of one way of segmenting.

    Args:
        loaded: The network, on the device that is to work.
        pictures: The pictures; one that cannot be read, segmented or written is left out, as are pictures that would
            have the same results, and the others are written.
        out: A folder; results of the same network in it are replaced.
        formats: Names of formats, of :data:`pgpc.evaluation.formats.FORMATS`.
        skip_existing: Whether to leave pictures alone of which all results are there.
        on_progress: Function that is called with the number of pictures done and in all.

    Raises:
        ValueError: A format is unknown or not for these classes, results would replace a picture, or the folder has
            results of another network. Nothing is written then.
        PartlyPredicted: At the end, where pictures were left out.
        PredictionError: All were.
        OSError: The disk is full or cannot be written.
        FolderInUseError: Another process writes into `out`.
    """
    check(set(formats) <= FORMATS.keys(), f"formats must be of {', '.join(FORMATS)}", list(formats))
    chosen = [FORMATS[name] for name in formats]
    if any(format_.cityscapes_only for format_ in chosen):
        check_cityscapes(loaded.classes, "Label ids are")
    _check_results(pictures, out, chosen)
    was_there = out.exists()
    with sole_writer(out):
        problems = _write_all(loaded, pictures, out, chosen, skip_existing, on_progress)
    if problems:
        count = f"{len(problems)} of {len(pictures)}"
        if len(problems) == len(pictures):
            if not was_there:
                with contextlib.suppress(OSError):  # something is in it
                    out.rmdir()
            raise PredictionError("\n".join([f"{count} pictures were left out, and nothing was written:", *problems]))
        raise PartlyPredicted("\n".join([f"{count} pictures were left out, the others are written:", *problems]))


def _write_all(
    loaded: LoadedModel,
    pictures: Sequence[Picture],
    out: Path,
    chosen: Sequence[Format],
    skip_existing: bool,
    on_progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Segment pictures and write the results; return a line for each that was left out."""
    maker = Maker.of(loaded)
    says_so = maker.check(out)
    is_older = not says_so and any(f.exists() for p in pictures for f in _results(p, out, chosen).values())
    if is_older and skip_existing:
        log.warning("Nothing in %s says which network has made the results there. They are kept as they are.", out)

    def say_so() -> None:
        nonlocal says_so
        if not says_so:
            maker.write(out)
            says_so = True

    legend = out / "legend.png" if any(format_.colored for format_ in chosen) else None
    same = _same_results(pictures)
    problems = []
    for done, picture in enumerate(pictures, 1):
        results = _results(picture, out, chosen)
        if others := [other.origin for other in same.get(picture.name, ()) if other is not picture]:
            problems.append(
                f"{picture.origin}: its results would be those of {', '.join(others)}. Pictures of one folder must "
                "differ in more than their suffix; rename one."
            )
        elif not (skip_existing and all(file.exists() for file in results.values())):
            problem = _predict(loaded, picture, results, (lambda: None) if is_older else say_so)
            if problem is not None:
                problems.append(problem)
            elif legend is not None:
                write_file(legend, lambda file: draw_legend(loaded.classes).save(file, "PNG"))
                legend = None
        if on_progress is not None:
            on_progress(done, len(pictures))
    if is_older and not skip_existing and not problems:  # all of them are replaced
        say_so()
    return problems


def _predict(
    loaded: LoadedModel, picture: Picture, results: Mapping[str, Path], before_writing: Callable[[], None]
) -> str | None:
    """Segment one picture and write its results; return a line that says what is wrong with it, or None."""
    try:
        image = picture.read()
        segmented = segment(loaded, image)
        before_writing()
        for name, file in results.items():
            write_picture(file, FORMATS[name].draw(picture_of(image, loaded.config.data), segmented, loaded.classes))
    # Whatever is wrong with one picture must not keep the others from being segmented.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_ALL:
            raise
        return f"{picture.origin}: {str(error) or type(error).__name__}"
    return None


def _results(picture: Picture, out: Path, formats: Sequence[Format]) -> dict[str, Path]:
    return {format_.name: out / format_.name / f"{picture.name}{format_.suffix}" for format_ in formats}


def _same_results(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """Return the pictures whose results would replace one another, by their name."""
    same: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        same[picture.name].append(picture)
    return {name: several for name, several in same.items() if len(several) > 1}


def _check_results(pictures: Sequence[Picture], out: Path, formats: Sequence[Format]) -> None:
    for picture in pictures:
        name = PurePosixPath(picture.name)
        check(not name.is_absolute() and ".." not in name.parts, "a picture's name must lie below --out", str(name))
    originals = {Path(picture.origin).resolve() for picture in pictures}
    for picture in pictures:
        for file in _results(picture, out, formats).values():
            check(
                file.resolve() not in originals, "results must not replace pictures", str(file), "Choose another --out."
            )


def write_picture(file: Path, drawn: Image.Image) -> None:
    """Write a drawn result as a JPEG or PNG, as the name of the file ends.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    if file.suffix == ".jpg":
        write_file(file, lambda opened: drawn.save(opened, "JPEG", quality=92, subsampling=0))
    else:
        write_file(file, lambda opened: drawn.save(opened, "PNG"))
