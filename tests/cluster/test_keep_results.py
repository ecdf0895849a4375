"""Results that outlive a cluster, in a bucket that holds what can be resumed from and no more."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import keep_results
from cluster.keep_results import CHECKPOINT, LIST, STUDIES, restore, save
from pgpc.runtime import storage

STUDY, SAVED = next(iter(STUDIES.items()))

ROOT = Path(__file__).parents[2]
RUN = "first/trials/0000"


def study(folder: Path, *numbers: int) -> None:
    with sqlite3.connect(folder / STUDY) as database:
        database.execute("create table if not exists trials (number)")
        database.executemany("insert into trials values (?)", [(number,) for number in numbers])


def numbers(file: Path) -> list[int]:
    return [number for (number,) in sqlite3.connect(file).execute("select number from trials order by number")]


def reach(run: Path, name: str, *, old: str = "") -> None:
    """What Train leaves of a new checkpoint: its folder, the list, and no other folder."""
    (run / name).mkdir(parents=True)
    (run / name / CHECKPOINT).write_text(name)
    (run / "config.json").write_text("{}")
    result = {"checkpoint_dir_name": name, "metrics": {}}
    (run / LIST).write_text(json.dumps({"checkpoint_results": [result], "latest_checkpoint_result": result}))
    if old:
        (run / old / CHECKPOINT).unlink()
        (run / old).rmdir()


def checkpoints(names: object) -> list[str]:
    return sorted(str(name) for name in names if str(name).endswith(f"/{CHECKPOINT}"))


def local(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old" / "first" / "trials").mkdir(parents=True)
    (tmp_path / "old" / "first" / "sweep.json").write_text("{}")
    study(tmp_path / "old" / "first", 0)
    return tmp_path / "old"


def test_the_bucket_holds_one_checkpoint_of_a_run(s3, old, tmp_path):
    for i in range(4):
        reach(old / RUN, f"checkpoint_{i}", old=f"checkpoint_{i - 1}" if i else "")
        save(old, s3)
    assert checkpoints(storage.sizes(s3)) == [f"{RUN}/checkpoint_3/{CHECKPOINT}"]
    restore(tmp_path / "new", s3)
    assert checkpoints(local(tmp_path / "new")) == [f"{RUN}/checkpoint_3/{CHECKPOINT}"]
    assert (tmp_path / "new" / RUN / LIST).read_bytes() == (old / RUN / LIST).read_bytes()


def test_what_older_versions_have_left_in_a_bucket_is_deleted_and_not_restored(s3, old, tmp_path):
    reach(old / RUN, "checkpoint_9")
    storage.sync_up(old, s3)
    for i in range(3):
        storage.upload(old / RUN / "checkpoint_9" / CHECKPOINT, f"{s3}/{RUN}/checkpoint_{i}/{CHECKPOINT}")
    restore(tmp_path / "new", s3)
    assert checkpoints(local(tmp_path / "new")) == [f"{RUN}/checkpoint_9/{CHECKPOINT}"]
    save(tmp_path / "new", s3)
    assert checkpoints(storage.sizes(s3)) == [f"{RUN}/checkpoint_9/{CHECKPOINT}"]


def test_a_copy_that_is_cut_short_names_what_is_there(s3, old, tmp_path, monkeypatch):
    """At every upload and every deletion the head may die; what a new one restores can always be resumed."""
    reach(old / RUN, "checkpoint_0")
    save(old, s3)
    reach(old / RUN, "checkpoint_1", old="checkpoint_0")
    study(old / "first", 1)
    reach(old / "first/trials/0001", "checkpoint_0")
    left = [0]

    def counted(real):
        def act(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise storage.StorageError("the head is gone")
            real(*arguments)

        return act

    monkeypatch.setattr(storage, "upload", counted(storage.upload))
    monkeypatch.setattr(storage, "delete", counted(storage.delete))
    for attempt in range(20):
        left[0] = 1  # so that it comes one step further each time
        try:
            save(old, s3)
            break
        except storage.StorageError:
            pass
        new = tmp_path / f"new-{attempt}"
        restore(new, s3)
        stored = json.loads((new / RUN / LIST).read_text())["latest_checkpoint_result"]["checkpoint_dir_name"]
        assert checkpoints(local(new / RUN)) == [f"{stored}/{CHECKPOINT}"]
        trained = {int(folder.name) for folder in (new / "first" / "trials").iterdir()}
        assert trained <= set(numbers(new / "first" / STUDY)), "a trial that the study does not know is none to resume"
    assert 5 < attempt < 19
    assert checkpoints(storage.sizes(s3)) == sorted(
        [f"{RUN}/checkpoint_1/{CHECKPOINT}", f"first/trials/0001/checkpoint_0/{CHECKPOINT}"]
    )


def test_a_restore_that_is_cut_short_is_taken_up_where_it_ended(s3, old, tmp_path, monkeypatch):
    """The head may die at every file; the next one brings what is missing of a run, and does not take it for whole."""
    reach(old / RUN, "checkpoint_0")
    save(old, s3)
    real, left, new, tries = storage.download, [0], tmp_path / "new", 0

    def counted(url, file):
        left[0] -= 1
        if left[0] < 0:
            raise storage.StorageError("the head is gone")
        return real(url, file)

    monkeypatch.setattr(storage, "download", counted)
    while not (new / RUN / "config.json").exists():
        left[0], tries = 1, tries + 1
        assert tries < 20
        with contextlib.suppress(storage.StorageError):
            restore(new, s3)
        if (new / RUN / LIST).exists():
            assert checkpoints(local(new)), "what a list names is there"
    assert tries > 3
    assert local(new / RUN) == sorted(["config.json", LIST, f"checkpoint_0/{CHECKPOINT}"])


def test_what_has_changed_is_not_called_whole_before_it_is(s3, old, monkeypatch):
    best = old / "first" / "best"
    best.mkdir()
    for name in (CHECKPOINT, "README.md"):
        (best / name).write_text("one")
    save(old, s3)
    assert "first/best/README.md" in storage.sizes(s3)
    (best / CHECKPOINT).write_text("another")

    def gone(file, url):
        raise storage.StorageError("the head is gone")

    monkeypatch.setattr(storage, "upload", gone)
    with pytest.raises(storage.StorageError):
        save(old, s3)
    assert "first/best/README.md" not in storage.sizes(s3)


def test_a_trial_that_begins_meanwhile_comes_with_the_next_copy(s3, old, monkeypatch):
    """The study that is copied does not know it yet."""
    real = keep_results._back_up_studies

    def back_up(folder):
        waiting = real(folder)
        if not (folder / "first/trials/0001").exists():
            reach(folder / "first/trials/0001", "checkpoint_0")
        return waiting

    monkeypatch.setattr(keep_results, "_back_up_studies", back_up)
    save(old, s3)
    assert not [name for name in storage.sizes(s3) if "0001" in name]
    save(old, s3)
    assert checkpoints(storage.sizes(s3)) == [f"first/trials/0001/checkpoint_0/{CHECKPOINT}"]


def test_what_a_sweep_is_and_what_it_knows_go_up_before_all_else(s3, old, monkeypatch):
    (old / "first" / "a.log").touch()
    names, real = [], storage.upload
    monkeypatch.setattr(storage, "upload", lambda file, url: names.append(url[len(s3) + 1 :]) or real(file, url))
    save(old, s3)
    assert names == ["first/sweep.json", f"first/{SAVED}", "first/a.log"]


def test_what_is_written_while_it_is_copied_comes_with_the_next_copy(s3, old, monkeypatch):
    curves, real = old / "first" / "events", storage.upload
    curves.write_text("a")

    def upload(file, url):
        real(file, url)
        if url.endswith("events") and curves.read_text() == "a":
            curves.write_text("ab")

    monkeypatch.setattr(storage, "upload", upload)
    for expected in (b"a", b"ab"):
        save(old, s3)
        assert storage.read(f"{s3}/first/events") == expected


def test_a_list_that_names_what_is_not_there_falls_back(s3, old, tmp_path, capsys):
    reach(old / RUN, "checkpoint_2")
    save(old, s3)
    for i in range(2):
        storage.upload(old / RUN / "checkpoint_2" / CHECKPOINT, f"{s3}/{RUN}/checkpoint_{i}/{CHECKPOINT}")
    storage.delete(f"{s3}/{RUN}/checkpoint_2/{CHECKPOINT}")
    restore(tmp_path / "new", s3)
    assert checkpoints(local(tmp_path / "new")) == [f"{RUN}/checkpoint_1/{CHECKPOINT}"]
    assert "its list names checkpoints that are not there; taken: checkpoint_1." in capsys.readouterr().out
    (old / RUN / "checkpoint_2" / CHECKPOINT).unlink()
    reach(old / RUN, "checkpoint_0")
    (old / RUN / LIST).write_text((tmp_path / "new" / RUN / LIST).read_text())
    save(old, s3)
    assert checkpoints(storage.sizes(s3)) == [f"{RUN}/checkpoint_0/{CHECKPOINT}"], "the only one that there is"
    (old / RUN / LIST).write_text('{"checkpoint_res')
    save(old, s3)
    assert checkpoints(storage.sizes(s3)) == [f"{RUN}/checkpoint_0/{CHECKPOINT}"], "it is just being written"


def test_nothing_local_is_replaced_and_a_run_in_use_gets_no_older_checkpoint(s3, old, tmp_path):
    reach(old / RUN, "checkpoint_0")
    save(old, s3)
    new = tmp_path / "new"
    reach(new / RUN, "checkpoint_1")
    (new / "first" / "sweep.json").write_text("newer")
    restore(new, s3)
    assert (new / "first" / "sweep.json").read_text() == "newer"
    assert checkpoints(local(new)) == [f"{RUN}/checkpoint_1/{CHECKPOINT}"]
    assert numbers(new / "first" / STUDY) == [0]


@pytest.mark.parametrize(("group", "seal"), [("warmups/abc", "trained_by.json"), ("first/best", "README.md")])
def test_what_is_valid_only_as_a_whole_comes_as_a_whole(group, seal, s3, old, tmp_path, capsys):
    (old / group).mkdir(parents=True)
    for name in (CHECKPOINT, "config.json", seal):
        (old / group / name).write_text("one")
    save(old, s3)
    restore(tmp_path / "new", s3)
    assert {file.read_text() for file in (tmp_path / "new" / group).iterdir()} == {"one"}
    storage.delete(f"{s3}/{group}/{seal}")
    restore(tmp_path / "newer", s3)
    assert not (tmp_path / "newer" / group).exists() and f"{group} is not complete" in capsys.readouterr().out
    save(old, s3)
    assert f"{group}/{seal}" in storage.sizes(s3)


def test_a_best_trial_that_is_replaced_meanwhile_is_not_called_whole(s3, old, monkeypatch):
    best = old / "first" / "best"
    best.mkdir()
    for name in (CHECKPOINT, "README.md"):
        (best / name).write_text("one")
    real = storage.upload

    def replaced(file, url):
        real(file, url)
        if url.endswith(f"best/{CHECKPOINT}"):
            best.rename(old / "first" / ".gone")
            best.mkdir()
            (best / "README.md").write_text("another")

    monkeypatch.setattr(storage, "upload", replaced)
    save(old, s3)
    assert "first/best/README.md" not in storage.sizes(s3)


def test_a_trunk_that_is_complete_leaves_nothing_of_its_training(s3, old):
    partial = old / "warmups" / "abc-partial"
    reach(partial, "checkpoint_0")
    save(old, s3)
    assert f"warmups/abc-partial/checkpoint_0/{CHECKPOINT}" in storage.sizes(s3)
    partial.rename(old / "warmups" / "abc")
    (old / "warmups" / "abc" / "trained_by.json").touch()
    save(old, s3)
    assert not any("partial" in name for name in storage.sizes(s3))


def test_every_study_is_saved_whole_that_of_a_confirmation_too(s3, old, tmp_path):
    (old / "first" / "confirmation").mkdir()
    study(old / "first" / "confirmation", 3)
    save(old, s3)
    assert f"first/confirmation/{SAVED}" in storage.sizes(s3) and f"first/{STUDY}" not in storage.sizes(s3)
    restore(tmp_path / "new", s3)
    assert numbers(tmp_path / "new" / "first" / "confirmation" / STUDY) == [3]


def test_names_are_those_of_the_sweep():
    from pgpc.models import checkpoint
    from sweeps.definition import folder
    from sweeps.execution import checkpoints, trunk

    assert checkpoints.snapshot_file(Path()).name == LIST and checkpoint.CHECKPOINT == CHECKPOINT
    assert (folder.TRUNKS, trunk._TRAINED_BY) == (keep_results.TRUNKS, keep_results.TRUNK_SEAL)
    assert folder.SWEEP_FILE == keep_results.SWEEP


@pytest.mark.slow
def test_results_outlive_the_cluster(s3, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    trial = old / "first" / "trials" / "0000"
    trial.mkdir(parents=True)
    (trial / "checkpoint.pt").write_bytes(b"weights")
    study = sqlite3.connect(old / "first" / "study.db")
    study.execute("create table trials (number)")
    study.execute("insert into trials values (1)")
    study.commit()
    shutil.copy(old / "first" / "study.db", old / "first" / "reference.db")
    study.execute("insert into trials values (2)")  # a driver in the middle of a transaction
    program = [sys.executable, str(ROOT / "cluster" / "keep_results.py")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        subprocess.run([*program, "save", str(old), s3], check=True, env=env)
    torn = tmp_path / "torn.db"  # what a copy of a file may be that is being written
    torn.write_bytes((old / "first" / "study.db").read_bytes()[:5000])
    storage.upload(torn, f"{s3}/first/study.db")
    subprocess.run([*program, "restore", str(new), s3], check=True, env=env)
    study.rollback()
    assert (new / "first" / "trials" / "0000" / "checkpoint.pt").read_bytes() == b"weights"
    for name in ("study.db", "reference.db"):
        assert sqlite3.connect(new / "first" / name).execute("select number from trials").fetchall() == [(1,)]
    assert not list(new.rglob("*.saved.db"))


def test_what_a_killed_backup_has_left_does_not_end_all_later_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    study(tmp_path / "a", 0, 1)
    for left in (f"{SAVED}.tmp", f"{SAVED}.tmp-journal"):
        (tmp_path / "a" / left).write_bytes(b"torn" * 5000)
    assert keep_results._back_up_studies(tmp_path) == []
    assert numbers(tmp_path / "a" / SAVED) == [0, 1]
    assert {file.name for file in (tmp_path / "a").iterdir()} == {STUDY, SAVED}


def test_a_study_that_cannot_be_read_keeps_its_own_sweep_alone_from_being_copied(tmp_path: Path, capsys) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / STUDY).write_bytes(b"torn" * 5000)
    study(tmp_path / "b", 2)
    assert keep_results._back_up_studies(tmp_path) == ["a/"]
    assert numbers(tmp_path / "b" / SAVED) == [2] and not (tmp_path / "a" / SAVED).exists()
    assert "file is not a database): a is not copied, the other sweeps are" in capsys.readouterr().out
