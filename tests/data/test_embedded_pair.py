"""The embedded pair in its cache: generated once, and whole or not at all."""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pgpc.data import embedded_pair
from pgpc.data.config import DataConfig
from pgpc.data.domains import open_shards
from pgpc.data.shards.verify import verify
from pgpc.data.streets.config import StreetsConfig
from tests.helpers.data_sets import SMALL_PAIR, pair_in

DATA = DataConfig(streets=SMALL_PAIR)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_embedded_pair_is_generated_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source = open_shards("streets:source", DATA, "train")
        target = open_shards("streets:target", DATA, "train")
        val = open_shards("streets:target", DATA, "val")
    assert (len(source), len(target), len(val)) == (3, 2, 2)
    (record,) = caplog.records
    assert "7 images, once" in record.getMessage()
    assert sorted(path.name for path in pair_in(cache).iterdir()) == ["raw", "source", "target"]
    assert len(list((pair_in(cache) / "raw/source/images").iterdir())) == 3
    verify(pair_in(cache) / "source")
    verify(pair_in(cache) / "target")


def test_other_settings_get_another_folder(cache: Path) -> None:
    open_shards("streets:source", DATA, "train")
    first = pair_in(cache)
    open_shards("streets:source", DataConfig(streets=StreetsConfig(**{**_fields(SMALL_PAIR), "seed": 6})), "train")
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2 and first.is_dir()


def _fields(config: StreetsConfig) -> dict[str, int]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_callers_that_come_at_once_generate_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The lock belongs to an open file, so that threads exclude each other as processes do.
    calls, write = [], embedded_pair.write_streets
    monkeypatch.setattr(embedded_pair, "write_streets", lambda *arguments: calls.append(1) or write(*arguments))
    with ThreadPoolExecutor(4) as threads:
        shards = list(threads.map(lambda _: open_shards("streets:source", DATA, "train"), range(4)))
    assert [len(opened) for opened in shards] == [3] * 4
    assert calls == [1]


def test_what_a_killed_process_left_is_cleared(cache: Path) -> None:
    open_shards("streets:source", DATA, "train")
    folder = pair_in(cache)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(folder)
    (partial / "raw/source/images").mkdir(parents=True)
    (partial / "raw/source/images/99999.png").write_bytes(b"half a pict")
    assert len(open_shards("streets:source", DATA, "train")) == 3
    assert not partial.exists()


def test_generation_that_fails_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded_pair, "pack", full)
    with pytest.raises(ValueError, match=r"No space left on device\. Set the environment variable PGPC_CACHE"):
        open_shards("streets:source", DATA, "train")
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(ValueError, match="cannot be written: .*PGPC_CACHE"):
        open_shards("streets:source", DATA, "train")


def test_a_pair_that_exists_needs_no_writing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_shards("streets:source", DATA, "train")
    monkeypatch.setattr(embedded_pair, "locked", lambda path: pytest.fail("took the lock"))
    assert len(open_shards("streets:target", DATA, "val")) == 2
