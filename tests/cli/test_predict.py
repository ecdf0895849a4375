import io

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import colorize
from pgpc.cli import main
from pgpc.config import override
from pgpc.evaluation.formats import FORMATS
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.prediction import segment
from pgpc.presets import preset
from tests.helpers.cli import fails
from tests.helpers.pictures import files_below, noise, read, save
from tests.helpers.runs import SMALL, untrained_run, vary_scores

ALL_FORMATS = [text for name in FORMATS for text in ("--format", name)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a network that finds several classes in noise."""
    config = override(preset("streets/source-only"), SMALL)
    return untrained_run(tmp_path_factory.mktemp("run"), config, change=vary_scores)


@pytest.fixture(scope="module")
def loaded(run):
    return load_model(run)


def test_predict_writes_every_format_at_the_size_of_the_photo(run, loaded, tmp_path, capsys):
    pixels = noise(150, 260)
    save(pixels, tmp_path / "photos" / "Süd Straße" / "a b.png")
    main(
        [
            "predict",
            "--checkpoint",
            str(run),
            "--input",
            str(tmp_path / "photos"),
            "--out",
            str(tmp_path / "out"),
            *ALL_FORMATS,
        ]
    )
    out, name = tmp_path / "out", "Süd Straße/a b"
    suffixes = {kind: format_.suffix for kind, format_ in FORMATS.items()}
    assert files_below(out) == sorted(
        ["legend.png", "made_by.json", *(f"{kind}/{name}{suffixes[kind]}" for kind in suffixes)]
    )
    results = {kind: read(out / kind / f"{name}{suffixes[kind]}") for kind in suffixes}
    assert {result.size for result in results.values()} == {(260, 150)}
    modes = {kind: result.mode for kind, result in results.items()}
    assert modes == {"overlay": "RGB", "colour": "P", "train-ids": "L", "label-ids": "L", "confidence": "L"}
    expected = segment(loaded, pixels)
    assert np.array_equal(results["train-ids"], expected.ids)
    assert np.array_equal(results["colour"], expected.ids)
    assert np.array_equal(results["colour"].convert("RGB"), colorize(expected.ids))
    assert np.array_equal(results["confidence"], np.rint(expected.confidence * 255))
    to_train_id = {
        7: 0,
        8: 1,
        11: 2,
        12: 3,
        13: 4,
        17: 5,
        19: 6,
        20: 7,
        21: 8,
        22: 9,
        23: 10,
        24: 11,
        25: 12,
        26: 13,
        27: 14,
        28: 15,
        31: 16,
        32: 17,
        33: 18,
    }
    assert np.array_equal(np.vectorize(to_train_id.get)(np.array(results["label-ids"])), expected.ids)
    assert capsys.readouterr().out == f"1 picture -> {out}\n"


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_predict_takes_one_photo_turned_upright(suffix, run, tmp_path):
    upright = noise(160, 96)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the left: viewers turn the picture by 90 degrees clockwise
    file = tmp_path / f"photo{suffix}"
    options = {".png": {}, ".webp": {"lossless": True}}.get(suffix, {"quality": 100, "subsampling": 0})
    save(np.rot90(upright).copy(), file, exif=exif, **options)
    main(["predict", "--checkpoint", str(run), "--input", str(file), "--out", str(tmp_path / "out")])
    assert files_below(tmp_path / "out") == ["legend.png", "made_by.json", "overlay/photo.jpg", "train-ids/photo.png"]
    ids = np.array(read(tmp_path / "out" / "train-ids" / "photo.png"))
    expected = segment(load_model(run), upright).ids
    assert ids.shape == (160, 96)
    assert (ids == expected).mean() > 0.97  # JPEG changes pixels a little


def test_predict_leaves_out_what_it_cannot_read_and_does_the_others(run, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "photos" / "out"  # out lies in the input and is not searched
    save(noise(64, 128), photos / "a.jpg")
    save(noise(64, 128), photos / "z.png")
    save(noise(8, 1000), photos / "narrow.png")
    save(noise(3, 10_000), photos / "line.png")
    save(noise(64, 128), photos / "twice.png")
    save(noise(64, 128), photos / "twice.jpg")
    save(noise(64, 128), out / "overlay" / "old.jpg")
    save(noise(64, 128), photos / ".hidden" / "h.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no photo")
    header = io.BytesIO()
    Image.new("1", (1, 1)).save(header, "PNG")
    huge = bytearray(header.getvalue())
    huge[16:24] = (60000).to_bytes(4, "big") * 2
    (photos / "huge.png").write_bytes(huge)
    command = ["predict", "--checkpoint", run, "--out", out, "--format", "train-ids", "--input"]
    error = fails(capsys, *command, photos, code=1)
    assert "6 of 8 pictures were left out, the others are written:" in error
    bad = ("broken.jpg", "huge.png", "narrow.png", "line.png", "twice.png", "twice.jpg")
    assert all(f"\n{photos / name}: " in error for name in bad)
    assert files_below(out) == ["made_by.json", "overlay/old.jpg", "train-ids/a.png", "train-ids/z.png"]
    assert "1 of 1 pictures were left out, and nothing was written" in fails(capsys, *command, photos / "broken.jpg")


def test_predict_replaces_results_or_skips_them(run, tmp_path):
    save(noise(64, 128), tmp_path / "photos" / "a.png")
    result = tmp_path / "out" / "train-ids" / "a.png"
    result.parent.mkdir(parents=True)
    result.write_bytes(b"old")
    command = ["predict", "--checkpoint", str(run), "--input", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    main([*command, "--format", "train-ids", "--skip-existing"])
    assert result.read_bytes() == b"old"
    main([*command, "--skip-existing"])  # of two formats one is missing
    assert read(result).size == (128, 64)
    result.write_bytes(b"old")
    main(command)
    assert read(result).size == (128, 64)


def test_predict_takes_shards(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    command = ["predict", "--checkpoint", str(run), "--format", "train-ids", "--out", str(tmp_path / "out")]
    main([*command, "--input", "streets:target"])
    names = files_below(tmp_path / "out" / "train-ids")
    assert len(names) == 2
    folder = next((tmp_path / "cache").glob("streets-*/target"))
    main([*command, "--input", str(folder), "--split", "train"])
    assert len(files_below(tmp_path / "out" / "train-ids")) == 3
    assert {read(file).size for file in (tmp_path / "out").rglob("*.png")} == {(128, 64)}
    assert "--split is that of shards" in fails(capsys, *command, "--input", tmp_path / "out", "--split", "val")


def test_settings_change_how_pictures_are_segmented(run, tmp_path, capsys):
    save(noise(128, 256), tmp_path / "a.png")
    command = ["predict", "--checkpoint", str(run), "--input", str(tmp_path / "a.png"), "--format", "train-ids"]
    main([*command, "--out", str(tmp_path / "whole")])
    main(
        [
            *command,
            "--out",
            str(tmp_path / "windows"),
            "--set",
            "evaluation.window=64",
            "--set",
            "evaluation.window_stride=32",
        ]
    )
    whole, windows = (read(tmp_path / name / "train-ids" / "a.png") for name in ("whole", "windows"))
    assert whole.size == windows.size and not np.array_equal(whole, windows)
    error = fails(capsys, *command, "--out", tmp_path / "o", "--set", "model.encoder=mit_b1")
    assert "--set must change how images are segmented" in error and "but got 'model.encoder'" in error


def test_predict_refuses_before_it_writes(run, tmp_path, capsys):
    photos = tmp_path / "photos"
    command = ["predict", "--checkpoint", run, "--out", tmp_path / "out", "--input"]
    assert f"No picture and no folder of pictures at {photos}" in fails(capsys, *command, photos)
    photos.mkdir()
    assert "must hold files that end with .jpg" in fails(capsys, *command, photos)
    save(noise(64, 128), photos / "a.png")
    save(noise(64, 128), photos / "a.jpg")
    error = fails(capsys, *command, photos)
    assert f"\n{photos / 'a.jpg'}: its results would be those of {photos / 'a.png'}" in error
    assert "--out must be another folder than --input" in fails(capsys, *command[:4], photos, "--input", photos)
    overlays = photos / "overlay"
    save(noise(64, 128), overlays / "b.jpg")
    error = fails(capsys, *command[:4], photos, "--input", overlays, "--format", "overlay")
    assert f"results must not replace pictures, but got '{overlays / 'b.jpg'}'" in error
    assert not (tmp_path / "out").exists() and np.array_equal(read(overlays / "b.jpg").size, (128, 64))
