"""What is said of the labels and files of a data set that is packed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pgpc.classes import ClassSet
from pgpc.cli.pack_text import band_warnings, class_table, label_warnings, unused_warning
from pgpc.data.shards.label_totals import LabelTotals
from pgpc.data.shards.manifest import Manifest, SplitManifest
from pgpc.data.shards.pixel_totals import PixelTotals

TWO = ClassSet(("bg", "fg"), ((0, 0, 0), (9, 9, 9)), ())


def manifest(pixels: tuple[int, int], totals: LabelTotals | None, labeled: int = 2) -> Manifest:
    images = (2, int(pixels[1] > 0))
    split = SplitManifest(count=2, labeled=labeled, class_pixels=pixels, class_images=images, files=(), totals=totals)
    return Manifest(layout="folder", classes=TWO, fingerprint=None, skipped=(), splits={"train": split})


def test_the_table_has_pixels_share_and_images_of_each_class() -> None:
    assert [line.split("  ") for line in class_table(manifest((1500, 250), LabelTotals(pixels=2000)))] == [
        line.split("  ")
        for line in [
            "class      train: pixels  train: share  train: images",
            "bg                 1,500       75.00 %              2",
            "fg                   250       12.50 %              1",
            "(ignored)            250       12.50 %               ",
        ]
    ]
    assert class_table(manifest((0, 0), None, labeled=0)) == []
    assert class_table(manifest((3, 1), None))[-1].split() == ["(ignored)", "?", "?"], "of an earlier release"


def test_warnings_of_labels() -> None:
    assert label_warnings(manifest((3, 1), LabelTotals(pixels=4))) == label_warnings(manifest((3, 1), None)) == []
    assert label_warnings(manifest((0, 0), None, labeled=0)) == [], "a domain without labels"
    absent, rest = label_warnings(manifest((3, 0), LabelTotals(pixels=4, rest={"255": 1})))
    assert absent == "No pixel of split 'train' is of fg."
    assert rest.startswith('"ignore": "rest" ignores 25.00 % of the labels') and "255 (25.00 %)" in rest
    nothing, _ = label_warnings(manifest((0, 0), LabelTotals(pixels=4, blank_images=2, rest={"7": 4})))
    assert nothing.startswith("All pixels of the 2 labels of split 'train' are ignored.")
    (blank,) = label_warnings(manifest((3, 1), LabelTotals(pixels=8, blank_images=1)))
    assert "1 of 2 labels have no pixel of any class" in blank
    (turned,) = label_warnings(manifest((3, 1), LabelTotals(pixels=4, turned_images=1)))
    assert turned.startswith("Labeled photos of split 'train' that were turned as their EXIF") and ": 1. See" in turned


def test_a_band_of_one_value_is_told() -> None:
    found = manifest((3, 1), None)
    assert band_warnings(found) == [], "of photos nothing is counted"
    totals = PixelTotals(count=4, sums=(6, 1020), squares=(14, 260_100))
    split = dataclasses.replace(found.splits["train"], pixel_totals=totals)
    (text,) = band_warnings(dataclasses.replace(found, splits={"train": split}))
    assert text.startswith(
        "In all pixels of split 'train' band 2 is 255. Is it alpha, or a band that was not recorded?"
    )


def test_files_that_are_not_used_are_counted_and_named(tmp_path: Path) -> None:
    assert unused_warning([], tmp_path) is None
    one = unused_warning([tmp_path / "masks/x.png"], tmp_path)
    assert one == "1 picture is not used:\n  masks/: 1 .png (x.png)"
    assert unused_warning([tmp_path / "a/1.tif", tmp_path / "a/2.tif"], tmp_path).startswith("2 files that look like")
