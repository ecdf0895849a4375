"""Segmenting a video or what a webcam sees: frame after frame, with no more than one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from pgpc.data.pixel_form import RGB
from pgpc.evaluation.formats import DEFAULT_FORMATS, FORMATS, Format, check_cityscapes
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.evaluation.made_by import Maker
from pgpc.evaluation.one_picture import segment_picture
from pgpc.evaluation.overlay import draw_legend
from pgpc.evaluation.prediction import PartlyPredicted, PredictionError, write_picture
from pgpc.evaluation.video.reading import WEBCAM, Frame, Video, VideoError, open_video
from pgpc.evaluation.video.writing import VideoWriter, written_video
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file
from pgpc.runtime.locks import sole_writer

if TYPE_CHECKING:
    from PIL import Image

FILMED = "overlay"
"""Name of the format that becomes a video; the others are pictures, one a frame, whose values no video would keep."""


class _Course(NamedTuple):
    """How far a video was segmented.

    Attributes:
        frames: Number of frames that were segmented and written.
        problem: What kept the others from it; "" where nothing did.
        interrupted: Whether the user ended it.
    """

    frames: int
    problem: str = ""
    interrupted: bool = False


def predict_video(
    loaded: LoadedModel,
    where: str,
    out: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Segment a video, or what a webcam sees until the user interrupts it.

    The overlay becomes ``out/overlay/{name}.mp4``, as long and as fast as the video and without its sound; other
    formats become ``out/{format}/{name}/{number}.png``, from 000000 on in the order of the frames. What was done before
    an interruption or a fault is kept. ``out/made_by.json`` says what has made them, as for pictures.

    Args:
        loaded: The network, on the device that is to work.
        where: A video file, or ``webcam:0``.
        out: A folder; results of the same network in it are replaced.
        formats: Names of formats, of :data:`pgpc.evaluation.formats.FORMATS`.
        on_progress: Function that is called with the number of frames done and, where the video says it, in all.

    Returns:
        The number of frames.

    Raises:
        ValueError: A format is unknown or not for these classes, the network takes no RGB of 8 bits, or the folder has
            results of another network.
        VideoError: The video or the webcam cannot be opened.
        PredictionError: No frame could be decoded.
        PartlyPredicted: At the end, where the video could not be decoded to its end.
        KeyboardInterrupt: The user has interrupted a file.
        OSError: The disk is full or cannot be written.
        FolderInUseError: Another process writes into `out`.
    """
    check(set(formats) <= FORMATS.keys(), f"formats must be of {', '.join(FORMATS)}", list(formats))
    chosen = [FORMATS[name] for name in dict.fromkeys(formats)]
    if any(format_.cityscapes_only for format_ in chosen):
        check_cityscapes(loaded.classes, "Label ids are")
    form = loaded.config.data.pixels
    check(form == RGB, "a video has 3 bands of 8 bits, and so must be what the network was trained on", str(form))
    name = where.replace(":", "") if where.startswith(WEBCAM) else Path(where).stem
    with sole_writer(out), open_video(where) as video:
        maker = Maker.of(loaded)
        says_so = maker.check(out) or any((out / format_.name).exists() for format_ in chosen)
        course = _write(
            loaded, video, out, name, chosen, on_progress, (lambda: None) if says_so else lambda: maker.write(out)
        )
        if any(format_.colored for format_ in chosen):
            write_file(out / "legend.png", lambda file: draw_legend(loaded.classes).save(file, "PNG"))
    if course.problem:
        raise PartlyPredicted(
            f"{where} was segmented up to frame {course.frames - 1}, and no further: {course.problem}"
        )
    if course.interrupted and not video.is_live:
        raise KeyboardInterrupt
    return course.frames


def _write(
    loaded: LoadedModel,
    video: Video,
    out: Path,
    name: str,
    formats: Sequence[Format],
    on_progress: Callable[[int, int], None] | None,
    before_writing: Callable[[], None],
) -> _Course:
    """Segment a video and write the results; see :func:`predict_video`."""
    found: list[_Course] = []

    def work(writer: VideoWriter | None) -> None:
        def sink(number: int, frame: Frame, drawn: Mapping[str, Image.Image]) -> None:
            if not number:
                before_writing()
            for kind, picture in drawn.items():
                if kind != FILMED:
                    write_picture(out / kind / name / f"{number:06d}.png", picture)
                elif writer is not None:
                    writer.add(np.asarray(picture), frame.seconds)
            if on_progress is not None:
                on_progress(number + 1, max(video.count, number + 2))

        course = segment_frames(loaded, video.frames(), sink, formats)
        if not course.frames and not course.interrupted:
            raise PredictionError(f"A video must have a frame that can be decoded. {course.problem}".rstrip())
        found.append(course)

    def film(file: IO[bytes]) -> None:
        with written_video(file, video.rate) as writer:
            work(writer)

    if any(format_.name == FILMED for format_ in formats):
        write_file(out / FILMED / f"{name}.mp4", film)
    else:
        work(None)
    return found[0]


def segment_frames(
    loaded: LoadedModel,
    frames: Iterable[Frame],
    sink: Callable[[int, Frame, dict[str, Image.Image]], None],
    formats: Sequence[Format],
) -> _Course:
    """Segment frames one after the other, and hand each over before the next is asked for.

    Args:
        loaded: The network.
        frames: The frames, of which none is kept.
        sink: Function that is given the number of a frame, the frame, and its result in each format.
        formats: The formats.

    Returns:
        How far it came; a fault of the video or an interruption ends it there.
    """
    number = 0
    try:
        for frame in frames:
            segmented = segment_picture(loaded.student.segmenter, loaded.config, frame.pixels)
            drawn = {f.name: f.draw(frame.pixels, segmented, loaded.classes) for f in formats}
            sink(number, frame, drawn)
            number += 1
            del frame, segmented, drawn  # or they would live until the next is there
    except VideoError as error:
        return _Course(number, problem=str(error))
    except KeyboardInterrupt:
        return _Course(number, interrupted=True)
    return _Course(number)
