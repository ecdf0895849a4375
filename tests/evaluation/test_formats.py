import numpy as np
import pytest

from pgpc.classes import CITYSCAPES, ClassSet, colorize
from pgpc.evaluation.formats import DEFAULT_FORMATS, FORMATS, Segmented, label_ids

IMAGE = np.full((4, 6, 3), 100, dtype=np.uint8)
SEGMENTED = Segmented(np.arange(24, dtype=np.uint8).reshape(4, 6) % 19, np.linspace(0.1, 1, 24).reshape(4, 6))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_draws_a_picture_of_the_same_size(name):
    format_ = FORMATS[name]
    assert format_.name == name and format_.help
    drawn = format_.draw(IMAGE, SEGMENTED, CITYSCAPES)
    assert drawn.size == (6, 4)
    if format_.suffix == ".png" and name not in ("label-ids", "confidence"):
        assert np.array_equal(drawn, SEGMENTED.ids)


def test_colors_are_those_of_the_classes():
    drawn = FORMATS["colour"].draw(IMAGE, SEGMENTED, CITYSCAPES)
    assert np.array_equal(drawn.convert("RGB"), colorize(SEGMENTED.ids, CITYSCAPES))


def test_confidence_is_in_steps_of_255():
    drawn = np.array(FORMATS["confidence"].draw(IMAGE, SEGMENTED, CITYSCAPES))
    assert np.abs(drawn / 255 - SEGMENTED.confidence).max() <= 0.5 / 255


def test_label_ids_are_those_of_cityscapes():
    assert label_ids(np.array([[0, 13, 18]], dtype=np.uint8), CITYSCAPES).tolist() == [[7, 26, 33]]
    own = ClassSet(("a", "b"), ((0, 0, 0), (1, 1, 1)), ())
    with pytest.raises(ValueError, match="Label ids are for networks on the 19 classes of Cityscapes alone"):
        label_ids(np.zeros((1, 1), dtype=np.uint8), own)
    assert [name for name, format_ in FORMATS.items() if format_.cityscapes_only] == ["label-ids"]


def test_what_is_written_by_default_exists():
    assert set(DEFAULT_FORMATS) <= FORMATS.keys()
