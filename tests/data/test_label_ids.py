"""Raw ids as train ids, and the file in which users describe their own labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES, IGNORE_INDEX
from pgpc.data.label_ids import UNKNOWN, raw_id_table, read_description, train_id_labels
from pgpc.data.layouts.known import FOLDER, find_layout
from pgpc.data.layouts.labels import read_label


def _describe(folder: Path, description: object) -> Path:
    file = folder / "classes.json"
    file.write_text(description if isinstance(description, str) else json.dumps(description), encoding="utf-8")
    return file


def test_a_description_gives_classes_and_ids(data_set, png) -> None:
    made = data_set("folder")
    description = _describe(
        made.root,
        {
            "classes": [
                {"name": "sky", "ids": [300, 7], "colour": [1, 2, 3]},
                {"name": "boat", "thing": True},
                {"name": "water", "ids": []},
            ],
            "ignore": [0, 255],
        },
    )
    own = find_layout("folder", description)
    assert own.classes.names == ("sky", "boat", "water")
    assert own.classes.colors[0] == (1, 2, 3) and own.classes.things == (1,)
    file = made.put("labels/a.png", png(np.array([[300, 7, 1, 0, 255]]), depth=16))
    assert read_label(own, file).ids.tolist() == [[0, 0, 1, 255, 255]]
    made.put("labels/a.png", png(np.array([[300, 2, 65535]]), depth=16))
    with pytest.raises(ValueError, match=r"layout 'folder' does not define: \[2, 65535\]\. Describe"):
        read_label(own, file)
    rest = find_layout(
        "folder", _describe(made.root, {"classes": [{"name": "sky", "ids": [300]}, {"name": "sea"}], "ignore": "rest"})
    )
    assert read_label(rest, file).ids.tolist() == [[0, 255, 255]]
    assert read_label(rest, file).rest == {"2": 1, "65535": 1}, "what is ignored unseen is counted"
    assert FOLDER.classes == CITYSCAPES


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("{", "must be JSON, but"),
        ("[" * 100_000, "must be JSON, but"),
        ([], "must be an object in braces, but got"),
        ({"classes": []}, r'"classes" must be a list of at least one, but got \[\]'),
        ({"ignore": [1]}, r'must have "classes" and may have "ignore", "labels", but got'),
        ({"classes": ["sky"]}, "Entry 0 of the classes must be an object in braces, but got 'sky'"),
        ({"classes": [{"name": "a", "hue": 3}]}, r'may have "color", "colour", "ids", "thing", but got .*hue'),
        ({"classes": [{"name": "a", "color": [0, 0, 0], "colour": [0, 0, 0]}]}, 'has both "color" and "colour"'),
        ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, r"must be \[r, g, b\]"),
        ({"classes": [{"name": 3}]}, "name of class 0 must be a text, but got 3"),
        ({"classes": [{"name": "a"}, {"name": "a"}]}, "have different names"),
        ({"classes": [{"name": "a", "thing": 1}]}, "\"thing\" of class 'a' must be true or false, but got 1"),
        ({"classes": [{"name": "a", "colour": [0, 0, 256]}]}, r"must be \[r, g, b\]"),
        ({"classes": [{"name": "a", "ids": [65536]}]}, r"whole numbers in 0\.\.65535, but got \[65536\]"),
        ({"classes": [{"name": "a", "ids": [True]}]}, "whole numbers"),
        ({"classes": [{"name": "a", "ids": 7}]}, "list of whole numbers"),
        ({"classes": [{"name": "a", "ids": [1]}, {"name": "b"}]}, "1 is listed by class 'a' and by class 'b'"),
        ({"classes": [{"name": "a"}], "ignore": [0]}, "0 is listed by class 'a' and by \"ignore\""),
        ({"classes": [{"name": "a"}], "ignore": "all"}, "or \"rest\", but got 'all'"),
        ({"classes": [{"name": f"{k}"} for k in range(255)]}, "1 to 254"),
        (
            {"classes": [{"name": "fg", "ids": [1]}], "ignore": [0]},
            "at least two classes, .* only 'fg' .*\"background\"",
        ),
        (
            {"classes": [{"name": "a"}, {"name": "b"}], "labels": "RGB"},
            '"labels" must be "ids" or "colors"',
        ),
        ({"classes": [{"name": "a"}, {"name": "b"}], "labels": "colors"}, 'need the "color" of each class'),
        ({"classes": [{"name": "a"}, {"name": "b"}], "ignore": [[0, 0]]}, r'color in "ignore" must be \[r, g, b\]'),
        (
            {"classes": [{"name": n, "color": [9, 9, 9]} for n in "ab"], "labels": "colors"},
            r"color \[9, 9, 9\] is listed by class 'a' and by class 'b'",
        ),
    ],
)
def test_descriptions_that_are_wrong_are_explained(tmp_path: Path, description: object, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        find_layout("folder", _describe(tmp_path, description))
    assert "classes.json" in str(caught.value)


def test_a_color_may_be_spelled_either_way(tmp_path: Path) -> None:
    entries = [{"name": "sky", "color": [1, 2, 3]}, {"name": "sea", "colour": [4, 5, 6]}]
    classes = read_description(_describe(tmp_path, {"classes": entries})).classes
    assert classes.colors == ((1, 2, 3), (4, 5, 6))
    with pytest.raises(ValueError, match=r'"color" \(or "colour"\)'):
        read_description(_describe(tmp_path, []))


def test_a_table_by_hand() -> None:
    table = raw_id_table({7: 0, 300: 1}, [3])
    assert table.shape == (65536,) and table.dtype == np.uint8
    assert table[[7, 300, 3, 4]].tolist() == [0, 1, IGNORE_INDEX, UNKNOWN]
    assert raw_id_table({7: 0}, (), rest=IGNORE_INDEX)[[7, 8]].tolist() == [0, IGNORE_INDEX]
    assert train_id_labels(2)[[0, 1, 2, 255]].tolist() == [0, 1, UNKNOWN, IGNORE_INDEX]
