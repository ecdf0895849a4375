import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pgpc.bases.state import TrainingState
from pgpc.classes import CITYSCAPES, ClassSet, colorize
from pgpc.cli import main
from pgpc.config import override
from pgpc.data.transforms import box_size, image_tensor, resize_image
from pgpc.evaluation import prediction
from pgpc.evaluation import segmentation as evaluation
from pgpc.evaluation.loaded_model import load_trained
from pgpc.evaluation.overlay import draw_legend, draw_overlay
from pgpc.evaluation.prediction import find_photos, segment
from pgpc.presets import preset

SMALL = {
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
ALL_FORMATS = [text for name in prediction.FORMATS for text in ("--format", name)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a network that finds several classes in noise."""
    torch.manual_seed(0)
    state = TrainingState(override(preset("streets/source-only"), SMALL), torch.device("cpu"))
    torch.nn.init.normal_(state.student.segmenter.decode_head.conv_seg.weight, std=1)
    folder = tmp_path_factory.mktemp("run")
    state.save(folder)
    return folder


@pytest.fixture(scope="module")
def trained(run):
    return load_trained(run)


def noise(height, width, seed=0):
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def save(pixels, file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def read(file):
    with Image.open(file) as image:
        image.load()
    return image


def files_below(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("window", [None, 64])
@pytest.mark.parametrize("size", [(100, 300), (300, 100), (64, 128)])
def test_segment_equals_the_softmax_of_all_logits_at_native_size(size, window, trained):
    config = override(trained.config, {"evaluation.window": window, "evaluation.window_stride": 40})
    image = noise(*size)
    segmented = segment(trained._replace(config=config), image)

    resized = resize_image(image, box_size(size[1], size[0], (128, 64)))
    model = trained.student.segmenter
    whole = evaluation.logits(model, image_tensor(resized)[None], evaluation=config.evaluation)
    native = F.interpolate(whole, size, mode="bilinear", align_corners=False)
    confidence, ids = native.softmax(dim=1)[0].max(dim=0)
    assert segmented.ids.dtype == np.uint8 and segmented.confidence.dtype == np.float32
    assert np.array_equal(segmented.ids, ids.numpy())
    assert np.allclose(segmented.confidence, confidence.numpy(), atol=1e-5)
    assert len(np.unique(segmented.ids)) > 3
    scored = evaluation.predict(model, image_tensor(resized)[None], size, evaluation=config.evaluation)
    assert np.array_equal(segmented.ids, scored.numpy())


def test_segment_never_holds_all_classes_at_native_size(trained, monkeypatch):
    """The largest tensor that is resized to the picture's size is of one class."""
    channels = []
    interpolate = F.interpolate

    def record(x, size=None, **options):
        if tuple(size) == (600, 1200):
            channels.append(x.shape[1])
        return interpolate(x, size, **options)

    monkeypatch.setattr(F, "interpolate", record)
    segment(trained, noise(600, 1200))
    assert set(channels) == {1}


def test_segment_refuses(trained):
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 RGB, but got \(\(64, 64, 3\), 'float32'\)"):
        segment(trained, np.zeros((64, 64, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"at least 32 pixels .* \(128, 1\)\. It is too narrow"):
        segment(trained, np.zeros((10, 1000, 3), dtype=np.uint8))


def test_predict_writes_every_format_at_the_size_of_the_photo(run, trained, tmp_path, capsys):
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
    suffixes = prediction.FORMATS
    assert files_below(out) == sorted(["legend.png", *(f"{kind}/{name}{suffixes[kind]}" for kind in suffixes)])
    results = {kind: read(out / kind / f"{name}{suffixes[kind]}") for kind in suffixes}
    assert {result.size for result in results.values()} == {(260, 150)}
    modes = {kind: result.mode for kind, result in results.items()}
    assert modes == {"overlay": "RGB", "colour": "P", "train-ids": "L", "label-ids": "L", "confidence": "L"}
    expected = segment(trained, pixels)
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
    assert files_below(tmp_path / "out") == ["legend.png", "overlay/photo.jpg", "train-ids/photo.png"]
    ids = np.array(read(tmp_path / "out" / "train-ids" / "photo.png"))
    expected = segment(load_trained(run), upright).ids
    assert ids.shape == (160, 96)
    assert (ids == expected).mean() > 0.97  # JPEG changes pixels a little


def test_predict_leaves_out_what_it_cannot_read_and_does_the_others(run, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "photos" / "out"  # out lies in the input and is not searched
    save(noise(64, 128), photos / "a.jpg")
    save(noise(64, 128), photos / "z.png")
    save(noise(8, 1000), photos / "narrow.png")
    save(noise(64, 128), out / "overlay" / "old.jpg")
    save(noise(64, 128), photos / ".hidden" / "h.png")
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_text("no photo")
    header = io.BytesIO()
    Image.new("1", (1, 1)).save(header, "PNG")
    huge = bytearray(header.getvalue())
    huge[16:24] = (60000).to_bytes(4, "big") * 2
    (photos / "huge.png").write_bytes(huge)
    error = fails(capsys, "predict", "--checkpoint", run, "--input", photos, "--out", out, "--format", "train-ids")
    assert "3 of 5 pictures were left out, the others are written:" in error
    assert all(f"\n{photos / name}: " in error for name in ("broken.jpg", "huge.png", "narrow.png"))
    assert files_below(out) == ["overlay/old.jpg", "train-ids/a.png", "train-ids/z.png"]


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


def test_a_result_is_written_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    def fail(image, file, *_):
        file.write(b"half")
        raise OSError("disk full")

    save(noise(64, 128), tmp_path / "photos" / "a.png")
    photos = find_photos(tmp_path / "photos", tmp_path / "out")
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        prediction.write_predictions(trained, photos, tmp_path / "out", ["train-ids"])
    assert files_below(tmp_path / "out") == []


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
    assert f"\n{photos / 'a.jpg'}; {photos / 'a.png'}" in fails(capsys, *command, photos)
    assert "--out must be another folder than --input" in fails(capsys, *command[:4], photos, "--input", photos)
    overlays = photos / "overlay"
    save(noise(64, 128), overlays / "b.jpg")
    error = fails(capsys, *command[:4], photos, "--input", overlays, "--format", "overlay")
    assert f"results must not replace pictures, but got '{overlays / 'b.jpg'}'" in error
    assert not (tmp_path / "out").exists() and np.array_equal(read(overlays / "b.jpg").size, (128, 64))


def test_label_ids_are_refused_for_other_classes(trained, tmp_path):
    save(noise(64, 128), tmp_path / "a.png")
    own = ClassSet(tuple(f"c{k}" for k in range(19)), CITYSCAPES.colors, ())
    photos = find_photos(tmp_path / "a.png", tmp_path / "out")
    with pytest.raises(ValueError, match="Label ids are for networks on the 19 classes .* but got 'c0"):
        prediction.write_predictions(trained._replace(classes=own), photos, tmp_path / "out", ["label-ids"])
    with pytest.raises(ValueError, match="formats must be of overlay, color"):
        prediction.write_predictions(trained, photos, tmp_path / "out", ["colors"])
    assert not (tmp_path / "out").exists()


def test_overlay_blends_colors_and_draws_boundaries():
    ids = np.zeros((4, 6), dtype=np.uint8)
    ids[:, 3:] = 13
    overlay = np.array(draw_overlay(np.full((4, 6, 3), 100, dtype=np.uint8), ids, CITYSCAPES))
    road = [round(0.45 * 100 + 0.55 * v) for v in (128, 64, 128)]
    assert np.abs(overlay[:, :2].astype(int) - road).max() <= 1
    assert (overlay[:, 2] == 255).all()  # the last pixel before the boundary
    assert np.abs(overlay[:, 3:].astype(int) - [45, 45, round(45 + 0.55 * 142)]).max() <= 1


def test_legend_has_a_row_for_every_class():
    legend = draw_legend(CITYSCAPES)
    colors = {color for _, color in legend.getcolors(100_000)}
    assert colors >= set(CITYSCAPES.colors)
    assert draw_legend(ClassSet(("a", "b"), ((1, 2, 3), (4, 5, 6)), ())).height < legend.height / 5
