"""Work that survives an interruption, and that one process at a time does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgpc.classes import CITYSCAPES
from pgpc.data.shards.manifest import FileEntry, Manifest, SplitManifest, read_manifest
from pgpc.data.shards.partial import PackSettings, Partial, file_sizes, open_partial
from pgpc.data.shards.writer import FinishedFile
from pgpc.runtime import storage

SETTINGS = PackSettings(fingerprint="f", skip_bad=False)


def write(partial: Partial, name: str, data: bytes = b"rows") -> FinishedFile:
    """Finish a file."""
    path = partial.shards / name
    path.write_bytes(data)
    entry = FileEntry(name=name, rows=1, size=len(data), sha256="0a" * 32)
    no_pixels = (0,) * 19
    return partial.keep(
        path,
        FinishedFile(
            split="train", file=entry, items=1, labeled=0, class_pixels=no_pixels, class_images=no_pixels, skipped=()
        ),
    )


def manifest(file: FinishedFile) -> Manifest:
    split = SplitManifest(count=1, labeled=0, class_pixels=(0,) * 19, class_images=(0,) * 19, files=(file.file,))
    return Manifest(layout="folder", classes=CITYSCAPES, fingerprint="f", skipped=(), splits={"train": split})


def interrupted(out: Path | str) -> FinishedFile:
    """One finished file and one that was only begun."""
    with pytest.raises(KeyboardInterrupt), open_partial(out, SETTINGS) as partial:
        finished = write(partial, "train-00000.arrow")
        (partial.shards / "train-00001.arrow").write_bytes(b"ro")
        raise KeyboardInterrupt
    return finished


def test_finished_files_are_found_again_and_begun_ones_are_not(tmp_path: Path) -> None:
    finished = interrupted(tmp_path / "out")
    with open_partial(tmp_path / "out", SETTINGS) as partial:
        assert partial.finished == [finished]
        assert [path.name for path in partial.shards.iterdir()] == ["train-00000.arrow"]
        partial.publish(manifest(finished))
    assert file_sizes(tmp_path / "out").keys() == {"train-00000.arrow", "manifest.json"}
    assert read_manifest(tmp_path / "out") == manifest(finished)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("settings", [PackSettings("g", False), PackSettings("f", True)])
def test_other_settings_begin_anew(tmp_path: Path, settings: PackSettings) -> None:
    interrupted(tmp_path / "out")
    with open_partial(tmp_path / "out", settings) as partial:
        assert partial.finished == [] and list(partial.shards.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]\n", '{"fingerprint": "f", "skip_bad": false}\n{"split": "train"}\n'])
def test_a_damaged_journal_begins_anew(tmp_path: Path, text: str) -> None:
    interrupted(tmp_path / "out")
    (tmp_path / ".out.partial/journal.jsonl").write_text(text)
    with open_partial(tmp_path / "out", SETTINGS) as partial:
        assert partial.finished == []


def test_a_file_of_another_size_begins_anew(tmp_path: Path) -> None:
    interrupted(tmp_path / "out")
    (tmp_path / ".out.partial/shards/train-00000.arrow").write_bytes(b"row")
    with open_partial(tmp_path / "out", SETTINGS) as partial:
        assert partial.finished == []


def test_the_journal_by_hand(tmp_path: Path) -> None:
    finished = interrupted(tmp_path / "out")
    first, second = (tmp_path / ".out.partial/journal.jsonl").read_text().splitlines()
    assert first == '{"fingerprint": "f", "skip_bad": false}'
    assert json.loads(second) == finished.to_json()
    keys = "split file items labelled class_pixels class_images skipped labels"
    assert list(json.loads(second)) == keys.split()


def test_an_error_leaves_nothing_and_a_loss_of_s3_leaves_all(tmp_path: Path) -> None:
    with pytest.raises(OSError), open_partial(tmp_path / "out", SETTINGS) as partial:
        write(partial, "train-00000.arrow")
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(storage.StorageError), open_partial(tmp_path / "out", SETTINGS) as partial:
        write(partial, "train-00000.arrow")
        raise storage.StorageError("gone")
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    busy = pytest.raises(ValueError, match="Another process packs into .*out")
    with open_partial(tmp_path / "out", SETTINGS), busy, open_partial(tmp_path / "out", SETTINGS):
        pass
    with open_partial(tmp_path / "out", SETTINGS):
        pass


def test_on_s3_names_tell_the_contents_and_the_disk_is_given_back(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    finished = interrupted(s3)
    assert finished.file.name == "train-00000-0a0a0a0a.arrow"
    assert storage.sizes(s3) == {finished.file.name: 4}
    storage.upload(Path(__file__), f"{s3}/train-00000-ffffffff.arrow")  # of the shards before these
    with open_partial(s3, SETTINGS) as partial:
        assert partial.finished == [finished] and list(partial.shards.iterdir()) == []
        partial.publish(manifest(finished))
    assert storage.sizes(s3).keys() == {finished.file.name, "manifest.json"}
    assert list((tmp_path / "cache").iterdir()) == []
