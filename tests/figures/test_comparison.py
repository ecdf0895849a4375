import matplotlib.colors
import numpy as np
import pytest

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, colorize
from pgpc.figures.comparison import Compared, comparison_figure, disagreement, evenly_spaced, most_different


def test_rows_are_evenly_spaced():
    assert evenly_spaced(48, 4) == [6, 18, 30, 42]
    assert evenly_spaced(5, 1) == [2]
    assert evenly_spaced(3, 10) == [0, 1, 2]


def test_disagreement_by_hand():
    """Of four pixels two pairs differ in one and the third in two."""
    a, b, c = np.array([[0, 0, 0, 0]]), np.array([[1, 0, 0, 0]]), np.array([[0, 1, 0, 0]])
    assert disagreement([a, b]) == 0.25
    assert disagreement([a, b, c]) == pytest.approx((0.25 + 0.25 + 0.5) / 3)
    assert most_different([0.1, 0.4, 0.2, 0.4], 3) == [1, 3, 2]
    with pytest.raises(ValueError, match="Give another --checkpoint"):
        disagreement([a])


def image(seed, *, height=16, label=True):
    rng = np.random.default_rng(seed)
    draw = lambda: rng.integers(0, 5, (height, 32)).astype(np.uint8)  # noqa: E731
    return Compared(rng.integers(0, 256, (height, 32, 3), dtype=np.uint8), [draw(), draw()], draw() if label else None)


def shown(axes):
    return axes.images[0].get_array()


def titles(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_the_grid_shows_photos_predictions_and_labels():
    images = [image(0), image(1, label=False), image(2, height=20)]
    images[0].label[0, 0] = IGNORE_INDEX
    figure = comparison_figure(images, ["a", "b"], CITYSCAPES)
    assert len(figure.axes) == 4 + 3 + 4
    assert titles(figure)[:5] == [["image"], ["a"], ["b"], ["ground truth"], []]
    first = [shown(axes) for axes in figure.axes[:4]]
    expected = [images[0].photo, *(colorize(x) for x in (*images[0].predictions, images[0].label))]
    assert all(np.array_equal(a, b) for a, b in zip(first, expected, strict=True))
    legend = {h.get_label(): matplotlib.colors.to_hex(h.get_facecolor()) for h in figure.legends[0].legend_handles}
    assert legend == {
        "road": "#804080",
        "sidewalk": "#f423e8",
        "building": "#464646",
        "wall": "#66669c",
        "fence": "#be9999",
        "unlabeled": "#000000",
    }


def test_without_labels_there_is_no_column_for_them():
    figure = comparison_figure([image(0, label=False)], ["a", "b"], CITYSCAPES)
    assert titles(figure) == [["image"], ["a"], ["b"]]
