import zipfile

import numpy as np
import pytest
from PIL import Image

from pgpc.cli import main
from pgpc.config import override
from pgpc.data.domains import open_shards
from pgpc.evaluation.benchmarks import BENCHMARKS
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.prediction import segment
from pgpc.evaluation.submission import shard_predictions
from pgpc.presets import preset
from tests.helpers.cli import fails
from tests.helpers.runs import SMALL, untrained_run

NIGHT = "night/GOPR0364/GOPR0364_frame_{:06d}_rgb_anon"


def entries(file):
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        return {name: np.array(Image.open(packed.open(name))) for name in packed.namelist()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with an untrained network."""
    return untrained_run(tmp_path_factory.mktemp("run"), override(preset("streets/source-only"), SMALL))


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
    loaded = load_model(run)
    shards = open_shards("streets:target", loaded.config.data, "val")
    packed = entries(tmp_path / "s.zip")
    assert set(packed) == {f"{name.rpartition('/')[2]}.png" for name in shards.names}
    assert capsys.readouterr().out.startswith("2 images, ")
    (given, _), raw = shard_predictions(loaded, shards), packed[f"{shards.names[0].rpartition('/')[2]}.png"]
    to_train_ids = np.full(256, 255)
    to_train_ids[[7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]] = range(19)
    assert np.array_equal(to_train_ids[raw], given.read().ids)


def test_submit_takes_what_predict_wrote(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(BENCHMARKS, "darkzurich", BENCHMARKS["darkzurich"]._replace(images=2, size=(128, 64)))
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
    packed, expected = entries(tmp_path / "d.zip"), segment(load_model(run), pixels)
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
