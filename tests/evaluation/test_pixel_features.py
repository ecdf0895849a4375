import numpy as np
import pytest
import torch

from pgpc.classes import IGNORE_INDEX
from pgpc.config import Config, override
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.pixel_features import describe, draw_pixels, feature_map, features_at
from pgpc.models.student import Student


def labels():
    rng = np.random.default_rng(0)
    maps = [rng.choice([0, 1, 2, IGNORE_INDEX], size=size).astype(np.uint8) for size in ((20, 30), (25, 15), (8, 8))]
    maps[1][3, 4:7] = 3  # a rare class, in one image
    return maps


def test_equally_many_pixels_of_every_class_and_each_once():
    maps = labels()
    pixels = draw_pixels(maps, 5, 40, np.random.default_rng(0))
    assert np.bincount(pixels.label, minlength=5).tolist() == [40, 40, 40, 3, 0]
    for i, row, column, label in zip(*pixels, strict=True):
        assert maps[i][row, column] == label
    places = list(zip(pixels.image, pixels.row, pixels.column, strict=True))
    assert len(set(places)) == len(places)
    assert (np.diff(pixels.image) >= 0).all()
    row, column = pixels.of_image(1)
    assert (maps[1][row, column] == pixels.label[pixels.image == 1]).all()


def test_pixels_are_uniform_over_all_images():
    """Class 0 has 1 pixel in the first image and 3 in the second; each is one of the two drawn half of the times."""
    maps = [np.array([[0, 9]], dtype=np.uint8), np.array([[0, 0, 0, 9]], dtype=np.uint8)]
    rng, count = np.random.default_rng(0), np.zeros(4)
    for _ in range(2000):
        pixels = draw_pixels(maps, 1, 2, rng)
        count[np.where(pixels.image == 0, 0, 1 + pixels.column)] += 1
    assert np.abs(count / 2000 - 0.5).max() < 0.05


def test_the_draw_follows_from_the_generator():
    one, two, other = (draw_pixels(labels(), 5, 10, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(map(np.array_equal, one, two))
    assert not all(map(np.array_equal, one, other))


def test_a_pixel_has_the_features_of_its_cell():
    map_ = torch.arange(2 * 3 * 4.0).view(1, 2, 3, 4)
    found = features_at(map_, np.array([0, 5, 11]), np.array([0, 8, 15]), (12, 16))
    assert found.tolist() == [[0, 12], [6, 18], [11, 23]]


@pytest.mark.parametrize(
    ("preset", "changes"), [("streets/daformer+pgpc", {}), ("streets/hrda+pgpc", {"model.detail_crop": 32})]
)
def test_spaces(preset, changes, make_run):
    student = load_model(make_run("spaces", preset, changes)).student
    image = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    projected = feature_map(student, image, "projection")
    assert projected.shape[1] == 8
    assert torch.allclose(projected.norm(dim=1), torch.ones(()), atol=1e-5)
    decoded = feature_map(student, image, "decoder")
    assert decoded.shape[:2] == (1, 8)
    head = student.segmenter.decode_head
    with torch.no_grad():
        features = student.segmenter.encode(image)
        expected = head(features) if preset == "streets/daformer+pgpc" else head.head(features)
        classified = getattr(head, "head", head).conv_seg(decoded.clone())
    assert torch.equal(classified, expected)
    assert (describe(student, "projection"), describe(student, "decoder")) == ("projection head", "decoder")


def test_deeplab_classifies_the_encoders_last_map(make_run):
    changes = {"model.architecture": "deeplabv2", "model.encoder": "resnet18", "model.drop_path": 0.0}
    student = Student(override(Config(), changes).model).eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(feature_map(student, image, "decoder"), student.segmenter.encode(image)[-1])
    assert describe(student, "decoder") == "encoder, last stage"


def test_no_projection_head(plain):
    student = load_model(plain).student
    with pytest.raises(ValueError, match="needs a network with a projection head.*take decoder"):
        feature_map(student, torch.zeros(1, 3, 64, 64), "projection")
