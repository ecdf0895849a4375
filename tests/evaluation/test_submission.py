import hashlib
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from pgpc.bases.state import TrainingState
from pgpc.classes import ClassSet
from pgpc.cli import main
from pgpc.config import override
from pgpc.data.domains import open_shards
from pgpc.evaluation.loaded_model import load_trained
from pgpc.evaluation.prediction import Segmented, segment
from pgpc.evaluation.submission import BENCHMARKS, Prediction, SubmissionError, shard_predictions, write_submission
from pgpc.presets import preset

CITIES = {"berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398}
NIGHT = "night/GOPR0364/GOPR0364_frame_{:06d}_rgb_anon"


def predictions(names, size, ids=3, confidence=0.5):
    """Predictions whose pixels are all alike."""

    def read():
        return Segmented(np.full(size[::-1], ids, np.uint8), np.full(size[::-1], confidence, np.float32))

    return [Prediction(name, size, read) for name in names]


@pytest.fixture
def tiny(monkeypatch):
    """The benchmarks, with images of 8 x 4 pixels and five of them."""
    for name, benchmark in BENCHMARKS.items():
        monkeypatch.setitem(BENCHMARKS, name, benchmark._replace(count=5, size=(8, 4)))


def entries(file):
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        return {name: np.array(Image.open(packed.open(name))) for name in packed.namelist()}


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_sizes_of_the_test_sets():
    assert {name: (b.count, b.size) for name, b in BENCHMARKS.items()} == {
        "cityscapes": (1525, (2048, 1024)),
        "darkzurich": (151, (1920, 1080)),
        "acdc": (2000, (1920, 1080)),
    }


def test_cityscapes_takes_label_ids_side_by_side(tiny, tmp_path):
    names = [f"{city}/{city}_000000_000019_leftImg8bit" for city in CITIES if city != "bonn"]
    write_submission("cityscapes", predictions(names, (8, 4), ids=13), tmp_path / "out" / "c.zip")
    packed = entries(tmp_path / "out" / "c.zip")
    assert list(packed) == [f"{city}_000000_000019.png" for city in sorted(CITIES) if city != "bonn"]
    for pixels in packed.values():
        assert pixels.dtype == np.uint8 and pixels.shape == (4, 8) and (pixels == 26).all()  # the id of cars


def test_dark_zurich_takes_three_folders(tiny, tmp_path):
    write_submission("darkzurich", predictions([NIGHT.format(k) for k in range(5)], (8, 4)), tmp_path / "d.zip")
    packed = entries(tmp_path / "d.zip")
    expected = [
        f"{folder}/GOPR0364_frame_{k:06d}.png"
        for k in range(5)
        for folder in ("labelTrainIds", "labelTrainIds_invalid", "confidence")
    ]
    assert list(packed) == expected
    for name, pixels in packed.items():
        assert pixels.shape == (4, 8)
        value = 32768 if name.startswith("confidence") else 3  # 0.5 of 65535
        assert (pixels == value).all()


def test_acdc_takes_train_ids_in_one_folder(tiny, tmp_path):
    names = ["fog/GOPR0475/GOPR0475_frame_000041", *(f"GP010475_frame_{k:06d}_rgb_anon" for k in range(4))]
    write_submission("acdc", predictions(names, (8, 4)), tmp_path / "a.zip")
    packed = entries(tmp_path / "a.zip")
    assert set(packed) == {
        "labelTrainIds/GOPR0475_frame_000041.png",
        *(f"labelTrainIds/GP010475_frame_{k:06d}.png" for k in range(4)),
    }
    assert all((pixels == 3).all() for pixels in packed.values())


def test_equal_predictions_give_equal_bytes(tiny, tmp_path):
    ordered = predictions([NIGHT.format(k) for k in range(5)], (8, 4))
    digests = set()
    for k, given in enumerate((ordered, ordered[::-1])):
        write_submission("acdc", given, tmp_path / f"{k}.zip")
        digests.add(hashlib.sha256((tmp_path / f"{k}.zip").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_everything_wrong_is_listed_and_no_zip_is_written(tiny, tmp_path):
    out = tmp_path / "c.zip"
    out.write_bytes(b"earlier")
    names = [
        "aachen_000000_000019_leftImg8bit",
        "berlin_000000_000019_leftImg8bit",
        "x/berlin_000000_000019",
        "mainz_000000_000019_gtFine_labelIds",
    ]
    given = [*predictions(names, (8, 4)), *predictions(["bonn_000001_000019"], (8, 5))]
    with pytest.raises(SubmissionError) as error:
        write_submission("cityscapes", given, out)
    first, *problems = str(error.value).splitlines()
    assert first == "Predictions must be those of the test set of cityscapes; no zip was written."
    assert [p.partition(":")[0] for p in problems] == [
        names[0],
        names[3],
        "bonn_000001_000019",
        "berlin_000000_000019",
        "2 images instead of 5",
    ]
    assert "8 x 5 pixels instead of 8 x 4" in problems[2]
    assert "2 predictions instead of one" in problems[3]
    assert out.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [out]


def test_missing_images_can_be_allowed_but_nothing_else(tiny, tmp_path):
    some = predictions([NIGHT.format(k) for k in range(4)], (8, 4))
    with pytest.raises(SubmissionError, match="4 images instead of 5"):
        write_submission("acdc", some, tmp_path / "a.zip")
    write_submission("acdc", some, tmp_path / "a.zip", allow_incomplete=True)
    assert len(entries(tmp_path / "a.zip")) == 4
    many = predictions([NIGHT.format(k) for k in range(6)], (8, 4))
    for given, text in (
        (many, "6 images instead of 5"),
        ([], "0 images instead of 5"),
        (predictions(["a"], (8, 4)), "\na: named otherwise"),
    ):
        with pytest.raises(SubmissionError, match=text):
            write_submission("acdc", given, tmp_path / "b.zip", allow_incomplete=True)


def test_normal_condition_images_of_acdc_are_no_test_images(tiny, tmp_path):
    names = [f"GOPR0475_frame_{k:06d}_rgb_ref_anon" for k in range(5)]
    with pytest.raises(SubmissionError, match="GOPR0475_frame_000000_rgb_ref_anon: named otherwise"):
        write_submission("acdc", predictions(names, (8, 4)), tmp_path / "a.zip")


def test_ids_that_are_no_train_ids_are_refused(tiny, tmp_path):
    good = predictions([NIGHT.format(k) for k in range(3)], (8, 4))
    bad = predictions([NIGHT.format(k) for k in (3, 4)], (8, 4), ids=26)
    with pytest.raises(SubmissionError) as error:
        write_submission("acdc", good + bad, tmp_path / "a.zip")
    problems = str(error.value).splitlines()[1:]
    assert problems == [f"{p.name}: a prediction must be train ids, 0 to 18 at every pixel, but got 26." for p in bad]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.manual_seed(0)
    small = {
        "model.encoder": "mit_b0",
        "model.head_channels": 8,
        "data.target_size": "128,64",
        "data.crop": 64,
        "data.streets.num_source": 1,
        "data.streets.num_target": 1,
        "data.streets.num_val": 2,
        "data.streets.height": 64,
        "data.streets.width": 128,
    }
    folder = tmp_path_factory.mktemp("run")
    TrainingState(override(preset("streets/source-only"), small), torch.device("cpu")).save(folder)
    return folder


def test_submit_segments_shards(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    command = [
        "submit",
        "--benchmark",
        "cityscapes",
        "--checkpoint",
        run,
        "--data",
        "streets:target",
        "--split",
        "val",
        "--out",
        tmp_path / "s.zip",
        "--allow-incomplete",
    ]
    error = fails(capsys, *command)  # the embedded pair has other cities, and small images
    assert "named otherwise than the test set" in error and not (tmp_path / "s.zip").exists()
    own = BENCHMARKS["cityscapes"]._replace(key=r"[a-z]+_\d{6}_\d{6}", size=(128, 64))
    monkeypatch.setitem(BENCHMARKS, "cityscapes", own)
    main([str(a) for a in command])
    trained = load_trained(run)
    shards = open_shards("streets:target", trained.config.data, "val")
    packed = entries(tmp_path / "s.zip")
    assert set(packed) == {f"{name.rpartition('/')[2]}.png" for name in shards.names}
    assert capsys.readouterr().out.startswith("2 images, ")
    (given, _), raw = shard_predictions(trained, shards), packed[f"{shards.names[0].rpartition('/')[2]}.png"]
    to_train_ids = np.full(256, 255)
    to_train_ids[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = range(19)
    assert np.array_equal(to_train_ids[raw], given.read().ids)


def test_networks_on_other_classes_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    trained = load_trained(run)
    own = trained._replace(classes=ClassSet(("a", "b"), ((0, 0, 0), (1, 1, 1)), ()))
    with pytest.raises(ValueError, match="The benchmarks are for networks on the 19 classes .* but got 'a, b'"):
        shard_predictions(own, open_shards("streets:target", trained.config.data, "val"))


def test_submit_takes_what_predict_wrote(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(BENCHMARKS, "darkzurich", BENCHMARKS["darkzurich"]._replace(count=2, size=(128, 64)))
    photos = [tmp_path / "photos" / f"{NIGHT.format(k)}.png" for k in range(2)]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    for photo in photos:
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photo)
    predict = ["predict", "--checkpoint", str(run), "--input", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    submit = [
        "submit",
        "--benchmark",
        "darkzurich",
        "--predictions",
        str(tmp_path / "out"),
        "--out",
        str(tmp_path / "d.zip"),
    ]
    main(predict)
    assert "Run it with --format train-ids --format confidence." in fails(capsys, *submit)
    main([*predict, "--format", "confidence"])
    main(submit)
    packed, expected = entries(tmp_path / "d.zip"), segment(load_trained(run), pixels)
    assert len(packed) == 6
    assert np.array_equal(packed["labelTrainIds/GOPR0364_frame_000001.png"], expected.ids)
    confidence = packed["confidence/GOPR0364_frame_000001.png"] / 65535
    assert np.abs(confidence - expected.confidence).max() <= 0.5 / 255 + 1e-4

    (tmp_path / "out" / "train-ids" / f"{NIGHT.format(0)}.png").write_bytes(b"broken")
    (tmp_path / "d.zip").unlink()
    assert f"{NIGHT.format(0)}.png: " in fails(capsys, *submit)
    assert not (tmp_path / "d.zip").exists()


def test_submit_needs_data_with_a_checkpoint(run, tmp_path, capsys):
    command = ["submit", "--benchmark", "acdc", "--out", tmp_path / "a.zip"]
    assert "--checkpoint needs --data" in fails(capsys, *command, "--checkpoint", run)
    assert "--checkpoint needs --data" in fails(capsys, *command, "--predictions", tmp_path, "--data", tmp_path)
    assert "one of the arguments --checkpoint --predictions is required" in fails(capsys, *command)
