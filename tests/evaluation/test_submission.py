import hashlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import ClassSet
from pgpc.data.domains import open_shards
from pgpc.evaluation.benchmarks import BENCHMARKS
from pgpc.evaluation.formats import Segmented
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.submission import Prediction, SubmissionError, shard_predictions, write_submission

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
        monkeypatch.setitem(BENCHMARKS, name, benchmark._replace(images=5, size=(8, 4)))


def entries(file):
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        return {name: np.array(Image.open(packed.open(name))) for name in packed.namelist()}


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


def test_networks_on_other_classes_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    loaded = load_model(run)
    own = loaded._replace(classes=ClassSet(("a", "b"), ((0, 0, 0), (1, 1, 1)), ()))
    with pytest.raises(ValueError, match="The benchmarks are for networks on the 19 classes .* but got 'a, b'"):
        shard_predictions(own, open_shards("streets:target", loaded.config.data, "val"))
