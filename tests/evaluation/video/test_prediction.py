"""Segmented videos: results in the order of the frames, one frame in memory, and what an interruption leaves."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pgpc.cli import main
from pgpc.config import override
from pgpc.evaluation.formats import FORMATS
from pgpc.evaluation.loaded_model import LoadedModel, load_model
from pgpc.evaluation.made_by import MADE_BY
from pgpc.evaluation.one_picture import segment_picture
from pgpc.evaluation.prediction import PartlyPredicted
from pgpc.evaluation.video.prediction import predict_video, segment_frames
from pgpc.evaluation.video.reading import Frame, Video, VideoError
from pgpc.presets import preset
from tests.helpers.pictures import files_below, read
from tests.helpers.runs import SMALL, untrained_run, vary_scores
from tests.helpers.videos import read_video, write_video


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a network that finds several classes."""
    config = override(preset("streets/source-only"), {**SMALL, "data.target_size": (64, 48)})
    return untrained_run(tmp_path_factory.mktemp("run"), config, change=vary_scores)


@pytest.fixture(scope="module")
def loaded(run: Path) -> LoadedModel:
    return load_model(run)


def test_a_video_becomes_a_video_and_a_picture_for_each_frame(run: Path, loaded: LoadedModel, tmp_path: Path) -> None:
    file, out = write_video(tmp_path / "clip.mp4", count=5, rate=10), tmp_path / "out"
    main(["predict", "--checkpoint", str(run), "--input", str(file), "--out", str(out)])
    ids = [f"train-ids/clip/{k:06d}.png" for k in range(5)]
    assert files_below(out) == sorted(["legend.png", MADE_BY, "overlay/clip.mp4", *ids])
    (frames, last), (given, last_given) = read_video(out / "overlay/clip.mp4"), read_video(file)
    assert len(frames) == 5 and last == last_given
    found = [segment_picture(loaded.student.segmenter, loaded.config, pixels) for pixels in given]
    assert all(np.array_equal(read(out / ids[k]), found[k].ids) for k in range(5))
    drawn = [np.asarray(FORMATS["overlay"].draw(*pair, loaded.classes)) for pair in zip(given, found)]
    nearest = [np.argmin([np.abs(frame.astype(int) - other).mean() for other in drawn]) for frame in frames]
    assert nearest == [*range(5)], "the frames of the overlay are in order"


def test_results_of_another_network_are_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    file, out = write_video(tmp_path / "clip.mp4", count=1), tmp_path / "out"
    for _ in range(2):
        assert predict_video(loaded, str(file), out, ["train-ids"]) == 1
    before = {name: (out / name).read_bytes() for name in files_below(out)}
    assert MADE_BY in before
    mirrored = loaded._replace(config=override(loaded.config, {"evaluation.flip": True}))
    with pytest.raises(ValueError, match="evaluation.flip=False, now True"):
        predict_video(mirrored, str(file), out, ["train-ids"])
    assert {name: (out / name).read_bytes() for name in files_below(out)} == before
    (out / MADE_BY).unlink()
    predict_video(mirrored, str(file), out, ["train-ids"])
    assert not (out / MADE_BY).exists(), "others of the folder may be of another network"


@pytest.mark.slow
def test_memory_holds_one_frame_however_long_the_video_is(loaded: LoadedModel) -> None:
    alive: set[int] = set()
    most = 0

    def frames(count: int) -> Iterator[Frame]:
        for number in range(count):
            pixels = np.full((48, 64, 3), number, dtype=np.uint8)
            alive.add(number)
            weakref.finalize(pixels, alive.discard, number)
            yield Frame(pixels, number)
            del pixels
            gc.collect()
            assert not alive, "a frame is dropped before the next is asked for"

    def sink(number: int, frame: Frame, drawn: object) -> None:
        nonlocal most
        most = max(most, len(alive))

    course = segment_frames(loaded, frames(4), sink, [FORMATS["overlay"], FORMATS["train-ids"]])
    assert course == (4, "", False) and most == 1


def test_what_was_done_before_a_fault_or_an_interruption_is_kept(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, whole = write_video(tmp_path / "clip.mp4", count=4), Video.frames
    for error, raised in ((VideoError("it is broken"), PartlyPredicted), (KeyboardInterrupt(), KeyboardInterrupt)):

        def broken(self: Video, error: BaseException = error) -> Iterator[Frame]:
            for number, frame in enumerate(whole(self)):
                if number == 2:
                    raise error
                yield frame

        monkeypatch.setattr(Video, "frames", broken)
        out = tmp_path / raised.__name__
        with pytest.raises(raised, match="up to frame 1, and no further: it is broken" if error.args else None):
            predict_video(loaded, str(file), out)
        assert len(read_video(out / "overlay/clip.mp4")[0]) == 2 == len(list((out / "train-ids/clip").iterdir()))


def test_a_webcam_ends_when_the_user_says_so(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgpc.evaluation.video import reading

    monkeypatch.setitem(reading._CAMERAS, reading.sys.platform, ("lavfi", "testsrc=size=64x48:rate=25:decimals={}"))

    def interrupt(done: int, total: int) -> None:
        assert total > done, "nobody knows how long it goes on"
        if done == 3:
            raise KeyboardInterrupt

    assert predict_video(loaded, "webcam:0", tmp_path / "out", on_progress=interrupt) == 2
    assert len(read_video(tmp_path / "out/overlay/webcam0.mp4")[0]) == 3


def test_other_bands_and_flags_for_pictures_are_refused(
    run: Path, loaded: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_video(tmp_path / "clip.mp4", count=2)
    config = override(loaded.config, {"data.bands": 4, "data.mean": (0.0,) * 4, "data.std": (1.0,) * 4})
    with pytest.raises(ValueError, match="a video has 3 bands of 8 bits, .* but got '4 bands of 8 bits'"):
        predict_video(loaded._replace(config=config), str(file), tmp_path / "out")
    with pytest.raises(SystemExit):
        main(["predict", "--checkpoint", str(run), "--input", str(file), "--out", str(tmp_path), "--skip-existing"])
    assert "is a video. Leave them out" in capsys.readouterr().err
