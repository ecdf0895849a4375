"""Layouts of which a rule chooses images: BDD100K by day and night, LoveDA by scene, ISPRS's by area."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pgpc.classes import IGNORE_INDEX
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.label_ids import raw_id_table, train_id_labels
from pgpc.data.layouts.known import LAYOUTS
from pgpc.data.layouts.labels import read_label
from pgpc.data.layouts.leftovers import lonely_labels, unused
from pgpc.data.layouts.scan import scan
from pgpc.data.pixel_form import PixelForm
from tests.helpers.data_sets import image_names, touch

ALL = {
    "bdd100k": {"train": ["10k/train0", "10k/train1", "10k/train2", "10k/train3"], "val": ["10k/val0", "10k/val1"]},
    "bdd100k-day": {"train": ["10k/train0"], "val": ["10k/val0"]},
    "bdd100k-night": {"train": ["100k/other1"], "val": ["10k/val1"]},
    "loveda-rural": {"train": ["Rural/0"], "val": ["Rural/0"], "test": ["Rural/0"]},
    "loveda-urban": {"train": ["Urban/1"], "val": ["Urban/1"], "test": ["Urban/1"]},
    **{
        f"potsdam-{kind}": {"train": ["top_potsdam_2_10", "top_potsdam_7_12"], "val": ["top_potsdam_2_13"]}
        for kind in ("rgb", "irrg", "rgbir")
    },
    "vaihingen": {"train": ["top_mosaic_09cm_area1", "top_mosaic_09cm_area37"], "val": ["top_mosaic_09cm_area2"]},
}


@pytest.mark.parametrize("name", ALL)
def test_every_split_has_its_images_and_every_label_is_read(data_set, name: str) -> None:
    made, known = data_set(name), LAYOUTS[name]
    table = raw_id_table({k + 1: k for k in range(7)}, [0]) if "loveda" in name else train_id_labels(19)
    form = PixelForm(4 if name == "potsdam-rgbir" else 3, 8)
    for split, names in ALL[name].items():
        items = scan(known, made.root, split)
        assert [item.name for item in items] == names
        for item in items:
            assert decode_image(read_file(item.image), form=form).shape == (12, 16, form.bands)
            assert (item.label is None) == ("test" in split or "100k" in item.name)
            if item.label is not None:
                ids = read_label(known, item.label)
                assert np.array_equal(ids.ids, table[made.raw[split, item.name]]) and not ids.rest
        assert lonely_labels(known, made.root, split, items) == []
        assert name == "bdd100k" or unused(known, made.root, items) == []


def test_nothing_of_one_domain_is_in_the_other(data_set) -> None:
    made = data_set("bdd100k")
    day, night = (set(image_names(LAYOUTS[f"bdd100k-{time}"], made.root, "val")) for time in ("day", "night"))
    assert day and night and not day & night
    rural, urban = (set(image_names(LAYOUTS[f"loveda-{s}"], data_set(f"loveda-{s}").root, "val")) for s in SCENES)
    assert rural and urban and not rural & urban


SCENES = ("rural", "urban")


def test_no_data_and_boundaries_are_ignored(data_set) -> None:
    loveda = data_set("loveda-rural")
    (item,) = scan(LAYOUTS["loveda-rural"], loveda.root, "train")
    ids = read_label(LAYOUTS["loveda-rural"], item.label).ids
    assert ((ids == IGNORE_INDEX) == (loveda.raw["train", item.name] == 0)).all() and ids[ids != IGNORE_INDEX].max() < 7
    vaihingen = data_set("vaihingen")
    (item, _) = scan(LAYOUTS["vaihingen"], vaihingen.root, "train")
    assert (read_label(LAYOUTS["vaihingen"], item.label).ids == IGNORE_INDEX).any()


def test_labels_with_boundaries_come_first_and_those_without_where_there_are_no_others(data_set) -> None:
    known, root = LAYOUTS["potsdam-rgb"], data_set("potsdam-rgb").root
    stem = "top_potsdam_2_10_label"
    touch(root, f"5_Labels_all_noBoundary/{stem}_noBoundary.tif")
    assert scan(known, root, "train")[0].label.name == f"{stem}.tif"
    shutil.rmtree(root / "5_Labels_all")
    assert scan(known, root, "train")[0].label.name == f"{stem}_noBoundary.tif"
    assert scan(known, root, "val")[0].label is None


def test_night_of_the_few_images_is_taken_where_the_many_are_missing(data_set) -> None:
    root = data_set("bdd100k-night").root
    shutil.rmtree(root / "images/100k")
    (item,) = scan(LAYOUTS["bdd100k-night"], root, "train")
    assert item.name == "10k/train1" and item.label is None, "a target is trained on without labels"


def test_without_lists_or_with_broken_ones_the_time_of_day_is_not_guessed(data_set) -> None:
    root: Path = data_set("bdd100k-day").root
    for split in ("train", "val"):
        (root / f"labels/det_20/det_{split}.json").unlink()
    with pytest.raises(
        ValueError, match="told by their 'timeofday', which lists in JSON say, but .* has none of labels/"
    ):
        scan(LAYOUTS["bdd100k-day"], root, "train")
    older = root / "labels/bdd100k_labels_images_train.json"
    for broken in ("[{", '{"name": 1}', '[{"attributes": {"timeofday": "night"}}]'):
        older.write_text(broken)
        with pytest.raises(ValueError, match=r"must be JSON of the form .* but .*images_train.json is not"):
            scan(LAYOUTS["bdd100k-day"], root, "train")
    older.write_text(json.dumps([{"name": "train3.jpg", "attributes": {"timeofday": "daytime"}}, {"name": "x.jpg"}]))
    assert image_names(LAYOUTS["bdd100k-day"], root, "train") == ["10k/train3"], "as an earlier release called it"
    older.write_text(json.dumps([{"name": "train3.jpg", "attributes": {"timeofday": "night"}}]))
    with pytest.raises(ValueError, match="none of the 4 below .* is one of them"):
        scan(LAYOUTS["bdd100k-day"], root, "train")
