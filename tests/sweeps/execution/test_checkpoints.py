"""Which checkpoint a run goes on from, whatever a process that was killed, or a copy, has left."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from sweeps.execution import checkpoints
from sweeps.execution.checkpoints import (
    CHECKPOINT,
    drop_unlisted_checkpoints,
    keep_checkpoint,
    mend_snapshot,
    newest_checkpoint,
    snapshot_file,
)


def list_of_checkpoints(name: str) -> str:
    """A list as Ray Train writes it for a run that has one checkpoint."""
    only = {"checkpoint_dir_name": name, "metrics": {}}
    return json.dumps({"checkpoint_results": [only], "latest_checkpoint_result": only, "current_report_index": 1})


def saved(folder: Path, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / CHECKPOINT).write_text(content)
    return folder


def test_a_new_checkpoint_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    run, scratch = tmp_path / "run", tmp_path / "scratch"
    (run / "checkpoint-partial").mkdir(parents=True)  # of a process that was killed
    for content in ("a", "b", "c"):
        keep_checkpoint(run, saved(scratch, content), {"iteration": 3})
        assert [path.read_text() for path in run.glob(f"checkpoint*/{CHECKPOINT}")] == [content]
        assert (run / str(newest_checkpoint(run)) / CHECKPOINT).read_text() == content
    assert json.loads(snapshot_file(run).read_text())["latest_checkpoint_result"]["metrics"] == {"iteration": 3}


def test_a_clock_that_is_behind_makes_no_older_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoint_2999-01-01_00-00-00.5").mkdir(parents=True)
    snapshot_file(run).write_text(list_of_checkpoints("checkpoint_2999-01-01_00-00-00.5"))
    for content in ("a", "b"):
        keep_checkpoint(run, saved(tmp_path / "scratch", content), {})
        newest = max(path.name for path in run.glob("checkpoint_*") if path.is_dir())
        assert newest == newest_checkpoint(run) > "checkpoint_2999-01-01_00-00-00.5"


def test_one_that_cannot_be_listed_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    keep_checkpoint(run, saved(tmp_path / "scratch", "a"), {})
    monkeypatch.setattr(checkpoints, "write_file", lambda *args: (_ for _ in ()).throw(OSError(28, os.strerror(28))))
    with pytest.raises(OSError, match="No space"):
        keep_checkpoint(run, saved(tmp_path / "scratch", "b"), {})
    assert (run / str(newest_checkpoint(run)) / CHECKPOINT).read_text() == "a"


def test_checkpoints_that_a_killed_process_has_left_in_part_are_removed(tmp_path: Path) -> None:
    for name in ("checkpoint_1", "checkpoint_2"):
        (tmp_path / name).mkdir()

    def left() -> list[str]:
        drop_unlisted_checkpoints(tmp_path)
        return sorted(path.name for path in tmp_path.glob("checkpoint_?"))

    assert left() == ["checkpoint_1", "checkpoint_2"], "nothing is known without a list"
    for listed, kept in ((["checkpoint_3"], 2), ([], 2), (["checkpoint_1"], 1)):
        entries = [{"checkpoint_dir_name": name} for name in listed]
        snapshot_file(tmp_path).write_text(json.dumps({"checkpoint_results": entries}))
        assert len(left()) == kept
    assert left() == ["checkpoint_1"]


def leave(directory: Path, *names: str) -> None:
    """Checkpoints as runs leave them."""
    for name in names:
        (directory / name).mkdir(parents=True)
        with zipfile.ZipFile(directory / name / CHECKPOINT, "w") as archive:
            archive.writestr("data", "learned")


@pytest.mark.parametrize("text", ['{"checkpoint_res', "[]", '{"checkpoint_results": 3}', None])
def test_a_list_that_names_nothing_that_is_there_falls_back(text: str | None, tmp_path: Path) -> None:
    run = tmp_path / "0000"
    leave(run, "checkpoint_0", "checkpoint_1", "checkpoint_2")
    os.truncate(run / "checkpoint_2" / CHECKPOINT, 40)  # the copy of it was cut short
    gone = list_of_checkpoints("checkpoint_3")
    snapshot_file(run).write_text(gone if text is None else text)
    mend_snapshot(run)
    assert newest_checkpoint(run) == "checkpoint_1"


def test_a_list_is_removed_where_there_is_no_checkpoint_and_left_alone_where_it_is_right(tmp_path: Path) -> None:
    mend_snapshot(tmp_path)
    assert not any(tmp_path.iterdir())
    snapshot_file(tmp_path).write_text(list_of_checkpoints("checkpoint_3"))
    (tmp_path / "checkpoint_3").mkdir()
    mend_snapshot(tmp_path)
    assert not snapshot_file(tmp_path).exists(), "a folder without the file is no checkpoint"
    leave(tmp_path, "checkpoint_4", "checkpoint_5")
    right = list_of_checkpoints("checkpoint_4")
    snapshot_file(tmp_path).write_text(right)
    mend_snapshot(tmp_path)
    assert snapshot_file(tmp_path).read_text() == right
