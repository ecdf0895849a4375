import numpy as np

from pgpc.classes import CITYSCAPES, ClassSet, classes_from_json
from pgpc.data.transforms import image_tensor
from pgpc.evaluation.overlay import draw_legend, draw_overlay, paint, photo

THREE = classes_from_json(
    [
        {"name": "red", "colour": [255, 0, 0]},
        {"name": "green", "colour": [0, 255, 0]},
        {"name": "blue", "colour": [0, 0, 255]},
    ]
)


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


def test_unselected_pixels_are_gray_and_lighter():
    photo = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    ids, shown = np.full((4, 6), 2), np.zeros((4, 6), dtype=bool)
    shown[0] = True
    painted = paint(photo, ids, shown, THREE)
    assert painted.dtype == np.uint8
    assert (painted[0] == (0, 0, 255)).all()
    rest = painted[1:].astype(int)
    assert (rest == rest[..., :1]).all() and (rest >= 191).all()


def test_a_photo_is_what_was_normalized():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(photo(image_tensor(pixels)[None], (6, 8)), pixels)
    assert photo(image_tensor(pixels)[None], (12, 4)).shape == (12, 4, 3)
