"""Digests of what lies at a place tell when it has changed, without reading an image."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from pgpc.data.config import DataConfig
from pgpc.data.contents import Place, changed, class_names, contents, places
from tests.helpers.data_sets import TWO_CLASSES, write_two_classes


def test_what_a_run_takes_from_outside() -> None:
    data = DataConfig(source="/a", target="/b")
    everything = places(data, pretrained="w.pth", adapts=True, measures=False)
    assert {part: str(place) for part, place in everything.items()} == {
        "source": "/a (train)",
        "target": "/b (train)",
        "scored split": "/b (val)",
        "pretrained weights": "w.pth",
    }
    distilled = places(data, pretrained=None, adapts=True, measures=False, distilled=Path("frozen.pth"))
    assert str(distilled["weights of the distillation"]) == "frozen.pth"
    few = dataclasses.replace(data, target_labels="split:few")
    labeled = places(few, pretrained=None, adapts=True, measures=False)
    assert str(labeled["target's labels"]) == "/b (few)" and "list of the target's labels" not in labeled
    alone = dataclasses.replace(data, eval_split=None)
    assert places(alone, pretrained=None, adapts=False, measures=False).keys() == {"source"}
    assert "target" in places(alone, pretrained=None, adapts=False, measures=True)


def test_shards_packed_anew_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    found = {split: Place(str(tmp_path / "shards"), split) for split in ("train", "val")}

    def now(classes: dict[str, int] = TWO_CLASSES, seed: int = 0) -> dict[str, str]:
        write_two_classes(tmp_path / "raw", tmp_path / "shards", classes, seed)
        return contents(found)

    before = now()
    assert now() == before, "the same pictures"
    assert changed(before, now(seed=1)) == ["train", "val"]
    assert changed(before, now({"bg": 255, "fg": 0})) == ["train", "val"], "the same pictures with other labels"
    assert class_names(str(tmp_path / "shards")) == ("bg", "fg")
    assert class_names("streets:source") is None


def test_other_things_are_told_where_they_count(tmp_path: Path) -> None:
    data = DataConfig(source=str(tmp_path / "shards"), target="/b", eval_split=None)

    def now(*things: str, keeps_things: bool = True) -> dict[str, str]:
        write_two_classes(tmp_path / "raw", tmp_path / "shards", things=things)
        found = places(data, pretrained=None, adapts=False, measures=False, keeps_things=keeps_things)
        return contents(found)

    before = now("fg")
    assert now("fg") == before
    assert changed(before, now("bg")) == ["classes that are things"], "the files of the shards are the same"
    assert changed(before, now("bg", keeps_things=False)) == []
    streets = dataclasses.replace(data, source="streets:source")
    assert "classes that are things" not in places(
        streets, pretrained=None, adapts=False, measures=False, keeps_things=True
    )


def test_labels_of_the_target_count_as_changed_where_there_were_none_or_no_list_of_them() -> None:
    none, split = {"source": "1"}, {"source": "1", "target's labels": "2"}
    listed = {**split, "list of the target's labels": "3"}
    assert changed(none, split) == changed(split, none) == ["target's labels"]
    assert changed(split, listed) == changed(listed, split) == ["list of the target's labels"]
    assert changed({**none, "scored split": "4"}, none) == [], "of others, what cannot be read is not compared"
    assert changed(listed, listed) == changed({}, none) == []


def test_a_file_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    digests = []
    for number, text in enumerate(("one", "two", "one")):
        file.write_text(text)
        os.utime(file, ns=(0, number))
        digests.append(contents({"w": Place(str(file), None)})["w"])
    assert digests[0] == digests[2] != digests[1]


def test_what_is_not_there_is_an_error_or_left_out(tmp_path: Path) -> None:
    found = {"a": Place(str(tmp_path / "a"), "train"), "b": Place(str(tmp_path / "b"), None)}
    for place in found.values():
        with pytest.raises((ValueError, OSError)):
            contents({"x": place})
    assert contents(found, needed=False) == {}
