"""One picture from whatever a program has of it."""

import numpy as np
import pytest
from PIL import Image

import pgpc
from pgpc.evaluation.one_picture import pixels_of
from pgpc.evaluation.prediction import segment


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_labels_and_confidence_in_one_line(run, loaded, tmp_path):
    """What the command writes, from a file, a picture or an array."""
    image = noise(60, 90)
    Image.fromarray(image).save(tmp_path / "photo.png")
    labels, confidence = pgpc.load_model(run).predict(str(tmp_path / "photo.png"))
    assert (labels.shape, labels.dtype, confidence.dtype) == ((60, 90), np.uint8, np.float32)
    assert ((confidence > 0) & (confidence <= 1)).all()
    assert len(np.unique(labels)) > 1
    for same in (image, tmp_path / "photo.png", Image.fromarray(image)):
        again = loaded.predict(same)
        assert (again.ids == labels).all()
        assert (again.confidence == confidence).all()
    assert (segment(loaded, image).ids == labels).all()


def test_gray_pictures_have_three_equal_channels_and_turned_ones_are_upright(tmp_path):
    gray = noise(6, 8)[..., 0]
    for form in (gray, Image.fromarray(gray)):
        assert (pixels_of(form) == gray[..., None]).all()
        assert pixels_of(form).shape == (6, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(noise(6, 8)).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        assert pixels_of(opened).shape == (8, 6, 3)
    assert (pixels_of(tmp_path / "turned.png") == pixels_of(Image.open(tmp_path / "turned.png"))).all()


@pytest.mark.parametrize("wrong", [np.zeros((64, 64, 3)), np.zeros((64, 64, 4), dtype=np.uint8)])
def test_arrays_of_another_form_are_refused(loaded, wrong):
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 RGB"):
        loaded.predict(wrong)


def test_a_file_that_is_missing_is_said(loaded, tmp_path):
    with pytest.raises(ValueError, match=r"gone.png: the file cannot be read"):
        loaded.predict(tmp_path / "gone.png")


def test_scales_and_a_mirrored_copy_are_options(loaded):
    image = noise(60, 90)
    plain, augmented = loaded.predict(image), loaded.predict(image, scales=[0.75, 1], flip=True)
    assert (loaded.predict(image, scales=[1], flip=False).confidence == plain.confidence).all()
    assert (augmented.confidence != plain.confidence).any()
    changed = loaded._replace(
        config=pgpc.override(loaded.config, {"evaluation.scales": "0.75,1", "evaluation.flip": "true"})
    )
    assert (changed.predict(image).confidence == augmented.confidence).all()
    with pytest.raises(ValueError, match=r"evaluation.scales must"):
        loaded.predict(image, scales=[0.01])
