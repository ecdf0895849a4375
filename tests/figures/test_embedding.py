import numpy as np
import pytest

from pgpc.classes import CITYSCAPES
from pgpc.figures.embedding import embedding_figure, to_plane


@pytest.mark.slow
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
