"""Layouts: which files they find, which ids they know, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import CITYSCAPES_TRAIN_IDS, CLASSES, IGNORE_INDEX, SYNTHIA_TRAIN_IDS
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.layouts.driving import ACDC, CITYSCAPES, DARK_ZURICH, GTA5, SYNTHIA
from pgpc.data.layouts.known import FOLDER, LAYOUTS, find_layout
from pgpc.data.layouts.labels import read_label, train_ids
from pgpc.data.layouts.layout import Layout
from pgpc.data.layouts.scan import scan
from tests.helpers.data_sets import image_names, touch

WEATHERS = ("fog", "night", "rain", "snow")


# --- the known data sets


@pytest.mark.parametrize("name", ["gta5", "synthia", "cityscapes", "darkzurich", "acdc"])
def test_every_label_of_the_real_layouts_is_read(data_set, name: str) -> None:
    made, known, read = data_set(name), LAYOUTS[name], set()
    table = SYNTHIA_TRAIN_IDS if name == "synthia" else CITYSCAPES_TRAIN_IDS
    for split in known.splits:
        items = scan(known, made.root, split)
        assert len({item.name for item in items}) == len(items) > 0
        for item in items:
            assert decode_image(read_file(item.image)).shape == (12, 16, 3)
            if item.label is None:
                assert not known.needs_label(split)
                continue
            label = read_label(known, item.label).ids
            assert label.dtype == np.uint8 and np.array_equal(label, table[made.raw[split, item.name]])
            read.add((split, item.name))
    assert read == made.raw.keys()


def test_the_splits_hold_the_right_images(data_set) -> None:
    gta5, synthia, cityscapes = (data_set(name).root for name in ("gta5", "synthia", "cityscapes"))
    assert image_names(GTA5, gta5, "train") == ["00001", "00002", "00003"]
    assert image_names(SYNTHIA, synthia, "train") == ["0000000", "0000001"]
    for split, cities in (("train", ("aachen", "ulm")), ("val", ("lindau",)), ("test", ("berlin",))):
        expected = [f"{city}/{city}_000000_{number:06d}" for city in cities for number in (19, 20)]
        assert image_names(CITYSCAPES, cityscapes, split) == expected
    assert [item.label for item in scan(CITYSCAPES, cityscapes, "test")] == [None, None]  # dummies


def test_dark_zurich_is_the_night_without_its_references(data_set) -> None:
    root = data_set("darkzurich").root
    for split, sequence in (("train", "GOPR0351"), ("val", "GOPR0356"), ("test", "GOPR0364")):
        assert image_names(DARK_ZURICH, root, split) == [f"night/{sequence}/{sequence}_frame_000001"]
        assert DARK_ZURICH.needs_label(split) == (split == "val")


def test_acdc_has_four_weathers_without_its_references(data_set) -> None:
    root = data_set("acdc").root
    for split, sequence in (("train", "GOPR0475"), ("val", "GOPR0476"), ("test", "GOPR0477")):
        assert image_names(ACDC, root, split) == [
            f"{weather}/{sequence}/{sequence}_frame_000041" for weather in WEATHERS
        ]
        assert [item.label is None for item in scan(ACDC, root, split)] == [split == "test"] * 4
        assert ACDC.needs_label(split) == (split == "val")


def test_acdc_flattened_is_read_where_it_is_all_there_is(data_set) -> None:
    made = data_set("acdc")
    for folder in ("rgb_anon", "gt"):
        for weather in WEATHERS:
            for split in ("train", "val", "test"):
                for file in (made.root / folder / weather / split).rglob("*.png"):
                    made.put(f"{folder}/{split}/{weather}_{file.parent.name}/{file.name}", file.read_bytes())
    # Copied beside the original, which is what the flattening of earlier methods does: each image once.
    assert image_names(ACDC, made.root, "train")[0] == "fog/GOPR0475/GOPR0475_frame_000041"
    assert len(image_names(ACDC, made.root, "train")) == 4
    for weather in WEATHERS:
        (made.root / "rgb_anon" / weather).rename(made.root / f"moved {weather}")
    for split in ("train", "val"):
        items = scan(ACDC, made.root, split)
        assert len(items) == 4 and items[0].name.startswith("fog_GOPR")
        for item in items:
            raw = made.raw[split, item.name.replace("_GOPR", "/GOPR", 1)]
            assert np.array_equal(read_label(ACDC, item.label).ids, CITYSCAPES_TRAIN_IDS[raw])


def test_one_weather_of_acdc_and_no_labels_for_training_will_do(data_set) -> None:
    root = data_set("acdc").root
    for weather in ("fog", "rain", "snow"):
        (root / "rgb_anon" / weather).rename(root / weather)
    (root / "gt").rename(root / "elsewhere")
    assert [(item.name, item.label) for item in scan(ACDC, root, "train")] == [
        ("night/GOPR0475/GOPR0475_frame_000041", None)
    ]


def test_raw_labels_are_preferred_to_train_ids_beside_them(tmp_path: Path, png) -> None:
    touch(tmp_path, "RGB/1.png", "RGB/2.png", "GT/LABELS/1.png", "GT/LABELS/1_labelTrainIds.png")
    (tmp_path / "GT/LABELS/2_labelTrainIds.png").write_bytes(png(np.array([[0, 18, 255]])))
    first, second = scan(SYNTHIA, tmp_path, "train")
    assert first.label == tmp_path / "GT/LABELS/1.png"
    assert read_label(SYNTHIA, second.label).ids.tolist() == [[0, 18, 255]]  # 8-bit gray, unlike the raw labels
    for known, images, labels, suffix in (
        (CITYSCAPES, "leftImg8bit/val/ulm/x_leftImg8bit.png", "gtFine/val/ulm/x", "_gtFine_labelTrainIds.png"),
        (DARK_ZURICH, "rgb_anon/val/night/x_rgb_anon.png", "gt/val/night/x", "_gt_labelTrainIds.png"),
        (ACDC, "rgb_anon/snow/val/s/x_rgb_anon.png", "gt/snow/val/s/x", "_gt_labelTrainIds.png"),
    ):
        touch(tmp_path / known.name, images, labels + suffix)
        (item,) = scan(known, tmp_path / known.name, "val")
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
            assert train_ids(known, label, Path("1.png")).dtype == np.uint8
        else:
            with pytest.raises(ValueError, match=rf"raw ids that layout '{known.name}' does not define: \[{raw}\]"):
                train_ids(known, label, Path("1.png"))


def test_raw_ids_become_train_ids() -> None:
    raw = np.array([[c.cityscapes_id for c in CLASSES] + [0, 34, 255]], dtype=np.uint8)
    expected = [*range(19), IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]
    assert train_ids(GTA5, raw, Path("1.png")).tolist() == [expected]
    # road, sidewalk, building, wall, fence, .. by the ids of SYNTHIA's own table; 22 are lane markings
    raw = np.array([[3, 4, 2, 21, 5, 7, 15, 9, 6, 1, 10, 17, 8, 19, 12, 11, 0, 22]], dtype=np.uint16)
    expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18, 255, 255]
    assert train_ids(SYNTHIA, raw, Path("1.png")).tolist() == [expected]


def test_train_id_files_are_taken_as_they_are() -> None:
    ids = np.array([[0, 18, 255]], dtype=np.uint8)
    assert train_ids(CITYSCAPES, ids, Path("x_gtFine_labelTrainIds.png")).tolist() == ids.tolist()
    with pytest.raises(ValueError, match=r"train ids .* \[19\]"):
        train_ids(CITYSCAPES, ids + np.uint8(1), Path("x_gtFine_labelTrainIds.png"))


def test_unknown_raw_ids_are_named() -> None:
    with pytest.raises(ValueError, match=r"raw ids that layout 'gta5' does not define: \[35, 200\]"):
        train_ids(GTA5, np.array([[200, 7, 35]], dtype=np.uint8), Path("1.png"))
    with pytest.raises(ValueError, match=r"119\] and 899 more"):
        train_ids(GTA5, np.arange(100, 1020, dtype=np.uint16)[None], Path("1.png"))


# --- finding a layout


def test_unknown_names_list_the_known_ones() -> None:
    assert find_layout("gta5") is LAYOUTS["gta5"]
    with pytest.raises(ValueError, match=f"{', '.join(LAYOUTS)}, but got 'kitti'"):
        find_layout("kitti")
    with pytest.raises(ValueError, match=r"'gta5' has the splits train, but got val"):
        scan(GTA5, ".", "val")


def test_every_entry_of_the_table_is_found_by_its_name_and_knows_its_ids() -> None:
    for name, known in LAYOUTS.items():
        assert find_layout(name) is known and known.name == name and known.splits
        assert known.raw_ids.shape == (65536,) and (known.raw_ids < len(known.classes.names)).any()


def test_known_layouts_take_no_description(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is for layout 'folder', but layout 'gta5'"):
        find_layout("gta5", tmp_path / "classes.json")
    with pytest.raises(OSError):
        find_layout("folder", tmp_path / "missing.json")
