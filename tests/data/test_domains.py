"""From names in the config to shards: folders, and the embedded pair in its cache."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.data.config import DataConfig
from pgpc.data.domains import check_pair, open_domains, open_shards
from pgpc.data.run_splits import Domains, check_image_sizes, label_notes
from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.pack import pack
from pgpc.runtime.storage import upload
from tests.helpers.data_sets import SMALL_PAIR, pack_own_pair, pair_in, write_two_classes

DATA = DataConfig(streets=SMALL_PAIR)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_damage_in_the_cache_says_what_to_delete(cache: Path) -> None:
    open_shards("streets:source", DATA, "train")
    path = pair_in(cache) / "source/train-00000.arrow"
    os.truncate(path, 100)
    with pytest.raises(ShardError, match=f"truncated.* delete {pair_in(cache)}"):
        open_shards("streets:source", DATA, "train")


def test_names_and_folders(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are streets:source and streets:target, but got 'streets:val'"):
        open_shards("streets:val", DATA, "train")
    with pytest.raises(ShardError, match="nowhere does not exist. Name another, or pack one"):
        open_shards(str(tmp_path / "nowhere"), DATA, "train")
    open_shards("streets:source", DATA, "train")
    assert len(open_shards(str(pair_in(cache) / "source"), DATA, "train")) == 3


def test_check_pair(cache: Path) -> None:
    pair = check_pair(DATA)
    assert (len(pair.source), len(pair.target), len(pair.scored)) == (3, 2, 2)
    assert (pair.target.split, pair.scored.split) == ("train", "val")
    with pytest.raises(ShardError, match="'test' was asked for"):
        check_pair(DataConfig(streets=SMALL_PAIR, eval_split="test"))


def test_check_pair_parts_the_data(cache: Path) -> None:
    pair = check_pair(DataConfig(streets=SMALL_PAIR, holdout=1), 0.5)
    assert (len(pair.source), len(pair.held_out), len(pair.scored), len(pair.reported)) == (2, 1, 1, 1)
    with pytest.raises(ValueError, match="data.holdout must be smaller"):
        check_pair(DataConfig(streets=SMALL_PAIR, holdout=3))
    with pytest.raises(ValueError, match="evaluation.report_share must leave"):
        check_pair(DATA, 0.9)


def test_a_run_opens_what_it_reads(cache: Path) -> None:
    domains = open_domains(DATA, adapts=True)
    assert (domains.target.split, domains.scored.split) == ("train", "val")
    assert domains.reported is domains.measured is domains.held_out is None
    data = DataConfig(streets=SMALL_PAIR, holdout=1)
    domains = open_domains(data, adapts=False, report_share=0.5, measures=True)
    assert domains.target is None and domains.measured.split == "train"
    assert (len(domains.source), len(domains.held_out), len(domains.scored), len(domains.reported)) == (2, 1, 1, 1)
    assert set(domains.source.names).isdisjoint(domains.held_out.names)
    domains = open_domains(DataConfig(streets=SMALL_PAIR, eval_split=None), adapts=True, measures=True)
    assert domains.scored is None and domains.measured is domains.target


def test_a_target_that_nothing_needs_may_be_missing(
    cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run on the source alone goes on without the criteria, and says so; one that adapts needs the target."""
    data = DataConfig(streets=SMALL_PAIR, target=str(tmp_path / "nowhere"), eval_split=None)
    domains = open_domains(data, adapts=False, measures=True)
    assert domains.measured is None
    assert "There are no criteria on the target, which evaluation.criteria_images asks for: " in caplog.text
    with pytest.raises(ShardError, match="nowhere"):
        open_domains(data, adapts=True, measures=True)


def _data(pair: Path) -> DataConfig:
    return DataConfig(source=str(pair / "source"), target=str(pair / "target"))


def _opens(data: DataConfig) -> list[Callable[[], Domains]]:
    """Both ways to the domains: that of a sweep, before anything is trained, and that of a run."""
    return [lambda: check_pair(data), lambda: open_domains(data, adapts=True)]


def test_labels_without_a_usable_pixel_are_refused(tmp_path: Path) -> None:
    """Such a source trained to a loss of 0.000, and such a split gave NaN after the whole training."""
    for name, values, text in (
        ("none", {"source": 255}, r"Source images \(split 'train' of .*source\) must have labeled pixels"),
        ("one", {"source": 1}, "Source images .* at least two classes, .* are of 'fg', and none of bg, edge"),
        ("val", {"val": 255}, r"Scored images \(split 'val' of .*target\) must have labeled pixels"),
    ):
        for opened in _opens(_data(pack_own_pair(tmp_path / name, **values))):
            with pytest.raises(ShardError, match=text):
                opened()


def test_labels_are_checked_by_the_manifest_before_anything_is_read(tmp_path: Path) -> None:
    data = _data(pack_own_pair(tmp_path / "own", source=255))
    for file in (tmp_path / "own/shards").glob("*/*.arrow"):
        file.unlink()
    with pytest.raises(ShardError, match="must have labeled pixels"):
        check_pair(data)


def test_the_parts_of_a_split_must_have_labeled_pixels(tmp_path: Path) -> None:
    data = _data(pack_own_pair(tmp_path / "own"))
    Image.fromarray(np.full((64, 64), 255, dtype=np.uint8)).save(tmp_path / "own/target/labels/val/a.png")
    description = tmp_path / "own/classes.json"
    pack("folder", tmp_path / "own/target", tmp_path / "own/shards/target", description=description)
    check_pair(data)
    with pytest.raises(ShardError, match="Scored images .* must have labeled pixels"):
        check_pair(data, 0.5)


def test_absent_classes_are_told(tmp_path: Path) -> None:
    pair = check_pair(_data(pack_own_pair(tmp_path / "own")))
    learned, scored = label_notes(pair)
    assert "No pixel of edge in Source images" in learned
    assert "No pixel of edge in Scored images" in scored and "over the other 2 of 3 classes" in scored
    assert label_notes(pair._replace(scored=None)) == [learned]
    *_, distance = label_notes(pair, keeps_things=True)
    assert "feature distance to ImageNet" in distance


def test_scored_images_that_are_trained_on_are_told(tmp_path: Path) -> None:
    own = str(tmp_path / "shards")
    write_two_classes(tmp_path / "raw", own)
    data = dataclasses.replace(DATA, source=own, target=own, eval_split="train")
    pair = check_pair(data)
    (note,) = label_notes(pair)
    assert "Scored images (split 'train' of" in note and "such as 'a': the score is not one of images" in note
    (note,) = label_notes(pair._replace(scored=None, reported=pair.scored))
    assert "such as 'a'" in note
    assert label_notes(check_pair(dataclasses.replace(data, eval_split="val"))) == [], "others under the same names"


def test_images_that_resizing_leaves_nothing_of_are_refused(tmp_path: Path) -> None:
    data = _data(pack_own_pair(tmp_path / "own"))
    pair = check_pair(data)
    check_image_sizes(pair, data, 32)
    wide = dataclasses.replace(data, target_size=(1024, 32))
    with pytest.raises(ShardError, match=r"least 33 pixels .* data.target_size, but 'a' .* is 64 x 64, and 32 x 32 t"):
        check_image_sizes(pair, wide, 33)
    check_image_sizes(pair._replace(scored=None), wide, 33)  # crops are padded
    small = dataclasses.replace(data, target_size=(64, 64))
    check_image_sizes(pair, small, 33, scales=(0.52, 2.0))  # 33.28 pixels
    with pytest.raises(
        ShardError, match=r"least 65 pixels .* is 64 x 64, and 64 x 64 then. .* or evaluation.scales of 1"
    ):
        check_image_sizes(pair, small, 33, scales=(0.5, 1.0))
    exact = dataclasses.replace(wide, fit="exact", crop=None)
    with pytest.raises(ShardError, match="at least 33 pixels"):
        check_image_sizes(pair._replace(scored=None), exact, 33)


def test_check_pair_compares_classes(cache: Path, tmp_path: Path) -> None:
    check_pair(DATA)
    folder = Path(shutil.copytree(pair_in(cache) / "target", tmp_path / "target"))
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"road"', '"street"'))
    with pytest.raises(ValueError, match=r"same classes, .* \(street, sidewalk"):
        check_pair(DataConfig(streets=SMALL_PAIR, target=str(folder)))


def test_check_pair_finds_a_flipped_bit(cache: Path) -> None:
    check_pair(DATA)
    path = pair_in(cache) / "target/val-00000.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"target is damaged\. .*\n.*val-00000.arrow: the contents changed"):
        check_pair(DATA)


def test_both_domains_may_lie_on_s3(cache: Path, s3: str) -> None:
    check_pair(DATA)
    for side in ("source", "target"):
        for file in (pair_in(cache) / side).iterdir():
            upload(file, f"{s3}/{side}/{file.name}")
    pair = check_pair(DataConfig(source=f"{s3}/source", target=f"{s3}/target"))
    assert (len(pair.source), len(pair.target), len(pair.scored)) == (3, 2, 2)
    assert pair.source.folder == f"{s3}/source"
