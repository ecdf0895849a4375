"""The evaluation classes, and lists of classes in JSON."""

from __future__ import annotations

import numpy as np
import pytest

from pgpc.classes import (
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    CLASSES,
    IGNORE_INDEX,
    NUM_CLASSES,
    SYNTHIA_13,
    SYNTHIA_16,
    SYNTHIA_TRAIN_IDS,
    classes_from_json,
    classes_to_json,
    colorize,
)


def test_the_subsets_and_tables_of_synthia() -> None:
    assert (NUM_CLASSES, len(SYNTHIA_16), len(SYNTHIA_13)) == (19, 16, 13)
    assert set(SYNTHIA_13) < set(SYNTHIA_16)
    for k, known in enumerate(CLASSES):
        assert CITYSCAPES_TRAIN_IDS[known.cityscapes_id] == k == SYNTHIA_TRAIN_IDS[known.synthia_id]
    assert CITYSCAPES_TRAIN_IDS[0] == SYNTHIA_TRAIN_IDS[0] == IGNORE_INDEX


def test_json_keeps_the_names_that_files_of_every_version_have() -> None:
    entries = classes_to_json(CITYSCAPES)
    assert entries[0] == {"name": "road", "colour": [128, 64, 128], "thing": False}
    assert classes_from_json(entries) == CITYSCAPES
    assert classes_from_json([{"name": "road", "color": [128, 64, 128]}]).colors == ((128, 64, 128),)


def test_what_a_list_leaves_out() -> None:
    assert classes_from_json(None) == classes_from_json(None, 19) == CITYSCAPES
    assert classes_from_json(None, 3).names == ("class 0", "class 1", "class 2")
    own = classes_from_json([{"name": "a"}, {"name": "b", "thing": True}])
    assert own.things == (1,) and own.colors[0] != own.colors[1]


@pytest.mark.parametrize(
    ("entries", "num_classes", "text"),
    [
        ([{}], None, r'"color": \[r, g, b\].*"colour" is accepted too'),
        ([{"name": "a"}, {"name": "a"}], None, "have different names"),
        ([{"name": "a"}], 2, "There must be 2 classes, but 1 are listed: a"),
        ([{"name": "a", "color": "red"}], None, r"color of class 'a' must be \[r, g, b\]"),
        ([{"name": "a", "color": [0, 0, 0], "colour": [0, 0, 0]}], None, 'has both "color" and "colour"'),
    ],
)
def test_lists_that_are_wrong_are_explained(entries: list[dict], num_classes: int | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        classes_from_json(entries, num_classes)


def test_colors_by_hand() -> None:
    painted = colorize(np.array([[0, 18, IGNORE_INDEX]], dtype=np.uint8))
    assert painted.tolist() == [[[128, 64, 128], [119, 11, 32], [0, 0, 0]]] and painted.dtype == np.uint8


@pytest.mark.parametrize("name", ["road\x1b[2J", "a\nb", "a\u202eb"])
def test_names_that_would_steer_a_terminal_are_refused(name):
    with pytest.raises(ValueError, match="must be text on one line, but got .* Rename it"):
        classes_from_json([{"name": name}])
