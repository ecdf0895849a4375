"""Layouts: which files they find, which ids they know, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES as CITYSCAPES_CLASSES
from pgpc.classes import CITYSCAPES_TRAIN_IDS, CLASSES, IGNORE_INDEX, SYNTHIA_TRAIN_IDS
from pgpc.data.folders import Layout
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.layouts import ACDC, CITYSCAPES, DARK_ZURICH, FOLDER, GTA5, LAYOUTS, SYNTHIA, find_layout

WEATHERS = ("fog", "night", "rain", "snow")


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _names(layout: Layout, root: Path, split: str) -> list[str]:
    return [item.name for item in layout.scan(root, split)]


# --- the known data sets


@pytest.mark.parametrize("name", ["gta5", "synthia", "cityscapes", "darkzurich", "acdc"])
def test_every_label_of_the_real_layouts_is_read(data_set, name: str) -> None:
    made, known, read = data_set(name), LAYOUTS[name], set()
    table = SYNTHIA_TRAIN_IDS if name == "synthia" else CITYSCAPES_TRAIN_IDS
    for split in known.splits:
        items = known.scan(made.root, split)
        assert len({item.name for item in items}) == len(items) > 0
        for item in items:
            assert decode_image(read_file(item.image)).shape == (12, 16, 3)
            if item.label is None:
                assert not known.needs_label(split)
                continue
            label = known.read_label(item.label)
            assert label.dtype == np.uint8 and np.array_equal(label, table[made.raw[split, item.name]])
            read.add((split, item.name))
    assert read == made.raw.keys()


def test_the_splits_hold_the_right_images(data_set) -> None:
    gta5, synthia, cityscapes = (data_set(name).root for name in ("gta5", "synthia", "cityscapes"))
    assert _names(GTA5, gta5, "train") == ["00001", "00002", "00003"]
    assert _names(SYNTHIA, synthia, "train") == ["0000000", "0000001"]
    for split, cities in (("train", ("aachen", "ulm")), ("val", ("lindau",)), ("test", ("berlin",))):
        expected = [f"{city}/{city}_000000_{number:06d}" for city in cities for number in (19, 20)]
        assert _names(CITYSCAPES, cityscapes, split) == expected
    assert [item.label for item in CITYSCAPES.scan(cityscapes, "test")] == [None, None]  # dummies


def test_dark_zurich_is_the_night_without_its_references(data_set) -> None:
    root = data_set("darkzurich").root
    for split, sequence in (("train", "GOPR0351"), ("val", "GOPR0356"), ("test", "GOPR0364")):
        assert _names(DARK_ZURICH, root, split) == [f"night/{sequence}/{sequence}_frame_000001"]
        assert DARK_ZURICH.needs_label(split) == (split == "val")


def test_acdc_has_four_weathers_without_its_references(data_set) -> None:
    root = data_set("acdc").root
    for split, sequence in (("train", "GOPR0475"), ("val", "GOPR0476"), ("test", "GOPR0477")):
        assert _names(ACDC, root, split) == [f"{weather}/{sequence}/{sequence}_frame_000041" for weather in WEATHERS]
        assert [item.label is None for item in ACDC.scan(root, split)] == [split == "test"] * 4
        assert ACDC.needs_label(split) == (split == "val")


def test_acdc_flattened_is_read_where_it_is_all_there_is(data_set) -> None:
    made = data_set("acdc")
    for folder in ("rgb_anon", "gt"):
        for weather in WEATHERS:
            for split in ("train", "val", "test"):
                for file in (made.root / folder / weather / split).rglob("*.png"):
                    made.put(f"{folder}/{split}/{weather}_{file.parent.name}/{file.name}", file.read_bytes())
    # Copied beside the original, which is what the flattening of earlier methods does: each image once.
    assert _names(ACDC, made.root, "train")[0] == "fog/GOPR0475/GOPR0475_frame_000041"
    assert len(_names(ACDC, made.root, "train")) == 4
    for weather in WEATHERS:
        (made.root / "rgb_anon" / weather).rename(made.root / f"moved {weather}")
    for split in ("train", "val"):
        items = ACDC.scan(made.root, split)
        assert len(items) == 4 and items[0].name.startswith("fog_GOPR")
        for item in items:
            raw = made.raw[split, item.name.replace("_GOPR", "/GOPR", 1)]
            assert np.array_equal(ACDC.read_label(item.label), CITYSCAPES_TRAIN_IDS[raw])


def test_one_weather_of_acdc_and_no_labels_for_training_will_do(data_set) -> None:
    root = data_set("acdc").root
    for weather in ("fog", "rain", "snow"):
        (root / "rgb_anon" / weather).rename(root / weather)
    (root / "gt").rename(root / "elsewhere")
    assert [(item.name, item.label) for item in ACDC.scan(root, "train")] == [
        ("night/GOPR0475/GOPR0475_frame_000041", None)
    ]


def test_raw_labels_are_preferred_to_train_ids_beside_them(tmp_path: Path, png) -> None:
    _touch(tmp_path, "RGB/1.png", "RGB/2.png", "GT/LABELS/1.png", "GT/LABELS/1_labelTrainIds.png")
    (tmp_path / "GT/LABELS/2_labelTrainIds.png").write_bytes(png(np.array([[0, 18, 255]])))
    first, second = SYNTHIA.scan(tmp_path, "train")
    assert first.label == tmp_path / "GT/LABELS/1.png"
    assert SYNTHIA.read_label(second.label).tolist() == [[0, 18, 255]]  # 8-bit gray, unlike the raw labels
    for known, images, labels, suffix in (
        (CITYSCAPES, "leftImg8bit/val/ulm/x_leftImg8bit.png", "gtFine/val/ulm/x", "_gtFine_labelTrainIds.png"),
        (DARK_ZURICH, "rgb_anon/val/night/x_rgb_anon.png", "gt/val/night/x", "_gt_labelTrainIds.png"),
        (ACDC, "rgb_anon/snow/val/s/x_rgb_anon.png", "gt/snow/val/s/x", "_gt_labelTrainIds.png"),
    ):
        _touch(tmp_path / known.name, images, labels + suffix)
        (item,) = known.scan(tmp_path / known.name, "val")
        assert item.label == tmp_path / known.name / (labels + suffix)


# --- ids


@pytest.mark.parametrize(
    ("known", "defined"),
    [
        (GTA5, {*range(35), 255}),
        (SYNTHIA, {*range(23)}),
        (CITYSCAPES, {*range(34), 255}),
        (DARK_ZURICH, {*range(34), 255}),
        (ACDC, {*range(34), 255}),
        (FOLDER, {*range(19), 255}),
    ],
    ids=lambda value: value.name if isinstance(value, Layout) else "",
)
def test_only_defined_ids_are_known(known: Layout, defined: set[int]) -> None:
    for raw in range(300):
        label = np.full((2, 2), raw, dtype=np.uint16)
        if raw in defined:
            assert known.train_ids(label, Path("1.png")).dtype == np.uint8
        else:
            with pytest.raises(ValueError, match=rf"raw ids that layout '{known.name}' does not define: \[{raw}\]"):
                known.train_ids(label, Path("1.png"))


def test_raw_ids_become_train_ids() -> None:
    raw = np.array([[c.cityscapes_id for c in CLASSES] + [0, 34, 255]], dtype=np.uint8)
    expected = [*range(19), IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]
    assert GTA5.train_ids(raw, Path("1.png")).tolist() == [expected]
    # road, sidewalk, building, wall, fence, .. by the ids of SYNTHIA's own table; 22 are lane markings
    raw = np.array([[3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11, 0, 22]], dtype=np.uint16)
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18, 255, 255]
    assert SYNTHIA.train_ids(raw, Path("1.png")).tolist() == [expected]


def test_train_id_files_are_taken_as_they_are() -> None:
    ids = np.array([[0, 18, 255]], dtype=np.uint8)
    assert CITYSCAPES.train_ids(ids, Path("x_gtFine_labelTrainIds.png")).tolist() == ids.tolist()
    with pytest.raises(ValueError, match=r"train ids .* \[19\]"):
        CITYSCAPES.train_ids(ids + np.uint8(1), Path("x_gtFine_labelTrainIds.png"))


def test_unknown_raw_ids_are_named() -> None:
    with pytest.raises(ValueError, match=r"raw ids that layout 'gta5' does not define: \[35, 200\]"):
        GTA5.train_ids(np.array([[200, 7, 35]], dtype=np.uint8), Path("1.png"))
    with pytest.raises(ValueError, match=r"119\] and 899 more"):
        GTA5.train_ids(np.arange(100, 1020, dtype=np.uint16)[None], Path("1.png"))


# --- finding files


def test_files_are_found_recursively_and_sorted(tmp_path: Path) -> None:
    _touch(tmp_path, "images/b/00002.png", "images/00001.PNG", "images/00003.png", "images/x.txt")
    _touch(tmp_path, "images/.hidden.png", "images/.folder/00004.png", "images/._00001.png")
    _touch(tmp_path, "labels/b/00002.png", "labels/00003_labelTrainIds.png")
    items = GTA5.scan(tmp_path, "train")
    assert [item.name for item in items] == ["00001", "00003", "b/00002"]
    assert [item.label for item in items] == [
        None,
        tmp_path / "labels/00003_labelTrainIds.png",
        tmp_path / "labels/b/00002.png",
    ]
    assert GTA5.needs_label("train")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    _touch(tmp_path, "disk/1.png", "disk/deep/2.png", "root/labels/a/1.png", "root/images/keep")
    (tmp_path / "root/images/a").symlink_to(tmp_path / "disk")  # out of the root
    (tmp_path / "disk/deep/up").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/deep/root").symlink_to(tmp_path / "root/images")
    assert _names(GTA5, tmp_path / "root", "train") == ["a/1", "a/deep/2"]
    (tmp_path / "root/images/b").symlink_to(tmp_path / "disk")  # twice, but in no circle
    assert [n for n in _names(GTA5, tmp_path / "root", "train") if n.count("/") == 1] == ["a/1", "b/1"]


def test_links_to_nothing_are_problems(tmp_path: Path) -> None:
    _touch(tmp_path, "images/1.png", "images/2.png", "labels/2.png")
    (tmp_path / "images/3.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "labels/1.png").symlink_to(tmp_path / "labels/1.png")  # to itself
    items = GTA5.scan(tmp_path, "train")
    assert [item.name for item in items] == ["1", "2", "3"]
    assert items[0].label is not None  # not the same as an image without a label
    with pytest.raises(ValueError, match="cannot be read"):
        GTA5.read_label(items[0].label)
    with pytest.raises(ValueError, match="link to nothing"):
        read_file(items[2].image)
    (tmp_path / "images/sequence").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match="sequence is a link to nothing. Mount"):
        GTA5.scan(tmp_path, "train")


def test_missing_folders_and_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in images below the root, but .*images is no folder"):
        GTA5.scan(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="rgb_anon/fog/val, .*rgb_anon/snow/val or rgb_anon/val below"):
        ACDC.scan(tmp_path, "val")
    _touch(tmp_path, "images/1.jpg")
    with pytest.raises(ValueError, match="'.png', but no file below .*images does"):
        GTA5.scan(tmp_path, "train")


def test_names_are_unique(tmp_path: Path) -> None:
    _touch(tmp_path, "images/a.png", "images/a.jpg", "images/b/a.png", "images/c.webp")
    with pytest.raises(ValueError, match=r"1 have the same: .*images/a.jpg and .*images/a.png\. Rename"):
        FOLDER.scan(tmp_path, "train")


def test_unknown_names_list_the_known_ones() -> None:
    assert find_layout("gta5") is LAYOUTS["gta5"]
    with pytest.raises(ValueError, match="gta5, synthia, cityscapes, darkzurich, acdc, folder, but got 'kitti'"):
        find_layout("kitti")
    with pytest.raises(ValueError, match=r"'gta5' has the splits train, but got val"):
        GTA5.scan(".", "val")


# --- a data set of the user's own


def _describe(folder: Path, description: object) -> Path:
    file = folder / "classes.json"
    file.write_text(description if isinstance(description, str) else json.dumps(description), encoding="utf-8")
    return file


def test_a_folder_with_splits_and_a_folder_without(data_set) -> None:
    made = data_set("folder")
    for file in ("a.png", "sub/b.JPG", "c ü.webp", "d.bmp", "e.Jpeg"):
        made.image(f"images/{file}")
    made.label("labels/sub/b.png", "train", "sub/b", range(19))
    items = FOLDER.scan(made.root, "train")
    assert [item.name for item in items] == ["a", "c ü", "d", "e", "sub/b"]
    assert [item.label is None for item in items] == [True, True, True, True, False]
    assert np.array_equal(FOLDER.read_label(items[-1].label), made.raw["train", "sub/b"])
    assert not FOLDER.needs_label("train") and FOLDER.classes == CITYSCAPES_CLASSES
    assert all(decode_image(read_file(item.image)).shape == (12, 16, 3) for item in items)
    with pytest.raises(FileNotFoundError, match="images/val below the root"):
        FOLDER.scan(made.root, "val")
    made.image("images/val/x.png")  # now there are splits, and none is "train"
    with pytest.raises(FileNotFoundError, match="images/train or images below the root"):
        FOLDER.scan(made.root, "train")
    assert _names(FOLDER, made.root, "val") == ["x"]
    made.image("images/train/y.png")
    assert _names(FOLDER, made.root, "train") == ["y"]


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
    assert own.read_label(file).tolist() == [[0, 0, 1, 255, 255]]
    made.put("labels/a.png", png(np.array([[300, 2, 65535]]), depth=16))
    with pytest.raises(ValueError, match=r"layout 'folder' does not define: \[2, 65535\]\. Describe"):
        own.read_label(file)
    rest = find_layout("folder", _describe(made.root, {"classes": [{"name": "sky", "ids": [300]}], "ignore": "rest"}))
    assert rest.read_label(file).tolist() == [[0, 255, 255]]
    assert FOLDER.classes == CITYSCAPES_CLASSES


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("{", "must be JSON, but"),
        ("[" * 100_000, "must be JSON, but"),
        ([], "must be an object in braces, but got"),
        ({"classes": []}, r'"classes" must be a list of at least one, but got \[\]'),
        ({"ignore": [1]}, r'must have "classes" and may have "ignore", but got'),
        ({"classes": ["sky"]}, "Entry 0 of the classes must be an object in braces, but got 'sky'"),
        ({"classes": [{"name": "a", "color": [0, 0, 0]}]}, r'may have "colour", "ids", "thing", but got .*color'),
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
    ],
)
def test_descriptions_that_are_wrong_are_explained(tmp_path: Path, description: object, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        find_layout("folder", _describe(tmp_path, description))
    assert "classes.json" in str(caught.value)


def test_known_layouts_take_no_description(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is for layout 'folder', but layout 'gta5'"):
        find_layout("gta5", _describe(tmp_path, {"classes": [{"name": "a"}]}))
    with pytest.raises(OSError):
        find_layout("folder", tmp_path / "missing.json")
