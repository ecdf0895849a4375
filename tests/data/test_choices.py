"""Seeded choices of images: the same for all runs, complete, without overlap."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pgpc.data.choices import choose_rows, hold_out, image_generator, split_report
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from tests.helpers.data_sets import write_gta5


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    root: Path = tmp_path_factory.mktemp("choices")
    write_gta5(root / "raw", count=9)
    pack("gta5", root / "raw", root / "out")
    return Shards.open(root / "out", "train")


def test_a_larger_choice_begins_with_the_smaller() -> None:
    rows = choose_rows(50, 20, "a")
    assert len(set(rows)) == 20 and set(rows) <= set(range(50))
    assert rows[:7] == choose_rows(50, 7, "a")
    assert rows != choose_rows(50, 20, "b")
    assert sorted(choose_rows(5, 9, "a")) == list(range(5))
    assert choose_rows(50, 0, "a") == []


def test_the_choice_is_the_same_for_ever() -> None:
    """Or runs of two versions could not be compared."""
    assert choose_rows(10, 4, "criteria images") == [3, 8, 7, 6]


def test_generators_are_one_for_each_image() -> None:
    first, again, other = (image_generator("a", row).random() for row in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("part", [hold_out, lambda shards, count: split_report(shards, count / 9)])
def test_parts_have_every_image_once(shards: Shards, part) -> None:
    kept, taken = part(shards, 3)
    assert len(kept) == 6 and len(taken) == 3
    assert sorted(kept.names + taken.names) == shards.names
    assert kept.names == sorted(kept.names) and taken.names == sorted(taken.names)
    for piece in (kept, taken, pickle.loads(pickle.dumps(kept)), kept.take([1, 3, 4])):
        for row, name in enumerate(piece.names):
            whole = shards.names.index(name)
            assert bytes(piece.image_bytes(row)) == bytes(shards.image_bytes(whole))
            assert piece.label_bytes(row) == shards.label_bytes(whole)
            assert piece.size(row) == shards.size(whole)
            assert np.array_equal(piece.class_pixels[row], shards.class_pixels[whole])
    assert pickle.loads(pickle.dumps(kept.take([1, 3, 4]))).names == [kept.names[row] for row in (1, 3, 4)]


def test_nothing_is_parted_by_default(shards: Shards) -> None:
    assert hold_out(shards, 0) == (shards, None)
    assert split_report(shards, 0) == (shards, None)


def test_a_part_without_an_image_is_refused(shards: Shards) -> None:
    with pytest.raises(
        ValueError, match=r"data.holdout must be smaller than the number of source images \(9\).* got 9"
    ):
        hold_out(shards, 9)
    for share in (0.01, 0.99):
        with pytest.raises(ValueError, match=rf"evaluation.report_share must leave .* of 9 scored .* got {share}"):
            split_report(shards, share)
