import numpy as np
import pytest
import torch

from pgpc.classes import CITYSCAPES, IGNORE_INDEX
from pgpc.evaluation.loaded_model import load_trained
from pgpc.figures.embedding import describe, draw_pixels, embedding_figure, feature_map, features_at, to_plane


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
    student = load_trained(make_run("spaces", preset, changes)).student
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
    from pgpc.config import Config, override
    from pgpc.models.student import Student

    changes = {"model.architecture": "deeplabv2", "model.encoder": "resnet18", "model.drop_path": 0.0}
    student = Student(override(Config(), changes)).eval()
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(feature_map(student, image, "decoder"), student.segmenter.encode(image)[-1])
    assert describe(student, "decoder") == "encoder, last stage"


def test_no_projection_head(plain):
    student = load_trained(plain).student
    with pytest.raises(ValueError, match="needs a network with a projection head.*take decoder"):
        feature_map(student, torch.zeros(1, 3, 64, 64), "projection")


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_planes_follow_from_the_seed_and_keep_clusters_apart(method):
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.standard_normal((20, 6)), 30 + rng.standard_normal((20, 6))]).astype(np.float32)
    plane = to_plane(features, method, 0)
    assert plane.shape == (40, 2)
    assert np.array_equal(plane, to_plane(features, method, 0))
    centers = plane[:20].mean(0), plane[20:].mean(0)
    spread = max(np.linalg.norm(part - part.mean(0), axis=1).mean() for part in (plane[:20], plane[20:]))
    assert np.linalg.norm(centers[0] - centers[1]) > 2 * spread
    with pytest.raises(ValueError, match="at least 10 labeled pixels, but got 5"):
        to_plane(features[:5], method, 0)


def test_figure_has_a_panel_per_network_in_the_classes_colors():
    labels = np.array([0, 0, 13, 14, 14])
    plane = np.arange(10.0).reshape(5, 2)
    figure = embedding_figure([plane, -plane], ["a\ndecoder", "b\ndecoder"], labels, CITYSCAPES)
    assert len(figure.axes) == 2
    for axes, sign in zip(figure.axes, (1, -1), strict=True):
        points = {tuple(c.get_facecolor()[0][:3] * 255): c.get_offsets().data for c in axes.collections}
        assert set(points) == {(128, 64, 128), (0, 0, 142), (0, 0, 70)}
        assert np.array_equal(points[0, 0, 70], sign * plane[3:])
    assert [text.get_text() for text in figure.axes[1].texts] == ["decoder", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["road", "car", "truck"]
