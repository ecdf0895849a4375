"""Labels that are pictures of colors, as a user's description has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.data.label_colors import color_codes, color_of, label_colors
from pgpc.data.layouts.known import find_layout
from pgpc.data.layouts.labels import read_label
from pgpc.data.layouts.layout import Layout

SKY, SEA, GRAY, OTHER = (10, 20, 200), (0, 90, 30), (7, 7, 7), (1, 2, 3)
CLASSES = [{"name": "sky", "ids": [7], "color": SKY}, {"name": "sea", "ids": [9], "colour": SEA}]


def layout(folder: Path, **description: object) -> Layout:
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES, **description}))
    return find_layout("folder", folder / "classes.json")


def painted(folder: Path, *colors: tuple[int, ...], mode: str = "RGB") -> Path:
    """A label one pixel high."""
    pixels = np.array([colors], dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(folder / "label.png")
    return folder / "label.png"


def test_colors_by_hand() -> None:
    table = label_colors({0: SKY, 2: SEA}, [OTHER], ("sky", "car", "sea"), ignores_rest=False)
    codes = color_codes(np.array([[SKY, OTHER], [SEA, (0, 0, 0)]], dtype=np.uint8))
    assert table.translate(codes).tolist() == [[0, 255], [2, 255]] and table.translate(codes).dtype == np.uint8
    assert table.is_listed(codes).tolist() == [[True, True], [True, False]]
    assert color_of(int(codes[0, 0])) == "[10, 20, 200]" and table.conflict == ""
    assert "class 'a' and by \"ignore\"" in label_colors({0: SKY}, [SKY], ("a",), ignores_rest=False).conflict


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_of_colors_is_read_by_the_colors_of_the_classes(tmp_path: Path, mode: str) -> None:
    own = layout(tmp_path, ignore=[[1, 2, 3], 0])
    assert read_label(own, painted(tmp_path, SKY, SEA, OTHER, mode=mode)).ids.tolist() == [[0, 1, 255]]
    gray = tmp_path / "gray.png"
    Image.fromarray(np.array([[7, 9, 0]], dtype=np.uint8)).save(gray)
    assert read_label(own, gray).ids.tolist() == [[0, 1, 255]], "files of ids are read by ids beside them"
    with pytest.raises(ValueError, match=r"colors that no class has: \[0, 0, 0\] \(1 pixels\)\. Give them to classes"):
        read_label(own, painted(tmp_path, SKY, (0, 0, 0)))


def test_the_rest_is_counted(tmp_path: Path) -> None:
    read = read_label(layout(tmp_path, ignore="rest"), painted(tmp_path, SKY, OTHER, OTHER, (0, 0, 0)))
    assert read.ids.tolist() == [[0, 255, 255, 255]] and read.rest == {"[1, 2, 3]": 2, "[0, 0, 0]": 1}
    many = [(k, 0, 0) for k in range(30)]
    rest = read_label(layout(tmp_path, ignore="rest"), painted(tmp_path, SKY, *many)).rest
    assert len(rest) == 21 and rest["others"] == 10


def test_gray_in_rgb_may_be_ids_or_colors(tmp_path: Path) -> None:
    own = layout(tmp_path, classes=[{"name": "sky", "ids": [7]}, {"name": "sea", "color": GRAY, "ids": [9]}])
    with pytest.raises(ValueError, match='may be ids as well as the colors .* add "labels": "ids" or'):
        read_label(own, painted(tmp_path, GRAY))
    assert read_label(own, painted(tmp_path, (9, 9, 9))).ids.tolist() == [[1]], "this is no color of a class"
    as_ids = layout(tmp_path, classes=[{"name": "sky", "ids": [7]}, {"name": "sea", "color": GRAY}], labels="ids")
    assert read_label(as_ids, painted(tmp_path, GRAY)).ids.tolist() == [[0]]
    as_colors = layout(tmp_path, classes=[{"name": "sky", "ids": [7]}, {"name": "sea", "color": GRAY}], labels="colors")
    assert read_label(as_colors, painted(tmp_path, GRAY)).ids.tolist() == [[1]]


def test_a_palette_holds_ids_unless_its_colors_are_meant(tmp_path: Path) -> None:
    file = tmp_path / "palette.png"
    image = Image.fromarray(np.array([[7, 9]], dtype=np.uint8), "P")
    image.putpalette([*[0] * 21, *SEA, *[0] * 3, *SKY])
    image.save(file)
    assert read_label(layout(tmp_path), file).ids.tolist() == [[0, 1]]
    assert read_label(layout(tmp_path, labels="colors"), file).ids.tolist() == [[1, 0]]
    Image.fromarray(np.array([[7]], dtype=np.uint8)).save(file)
    with pytest.raises(ValueError, match='since "labels" are "colors", but it is gray'):
        read_label(layout(tmp_path, labels="colors"), file)


def test_colors_that_tell_nothing_apart_and_labels_without(tmp_path: Path) -> None:
    same = layout(tmp_path, classes=[{"name": n, "color": SKY} for n in "ab"])
    with pytest.raises(ValueError, match=r"tell the classes apart\. The color \[10, 20, 200\] is listed by class 'a'"):
        read_label(same, painted(tmp_path, SKY))
    none = layout(tmp_path, classes=[{"name": n} for n in "ab"])
    with pytest.raises(ValueError, match=r"a picture of colors. .* the color of each class \(--classes\)"):
        read_label(none, painted(tmp_path, SKY))
    with pytest.raises(ValueError, match="must be opaque"):
        read_label(layout(tmp_path), painted(tmp_path, (*SKY, 100), mode="RGBA"))
