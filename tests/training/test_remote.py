"""Runs on S3, against a server that speaks its protocol."""

import logging

import pytest
import torch

import pgpc
from pgpc.data.domains import open_shards
from pgpc.evaluation.loaded_model import load_model
from pgpc.models.checkpoint import fetched
from pgpc.runtime import storage
from pgpc.runtime.lease import Lease
from pgpc.runtime.locks import FolderInUseError
from pgpc.training import Resume, loop, remote


class Interrupted(Exception):
    pass


def content(folder):
    with fetched(folder) as local:
        return torch.load(local / "checkpoint.pt")


@pytest.mark.slow
def test_a_run_on_s3_interrupted_and_resumed_elsewhere_equals_one_on_disk(tiny, s3, tmp_path, monkeypatch):
    config = tiny(changes={"training.keep_best": "mIoU"})
    on_disk = pgpc.train(config, out=tmp_path / "run")
    score = loop.score

    def stop(state, scored):
        if state.step > 2:
            raise Interrupted
        return score(state, scored)

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(loop, "score", stop)
        pgpc.train(config, out=s3)
    assert content(s3)["step"] == 2
    remote.clear(remote.working_folder(s3))  # another machine has nothing of it
    result = pgpc.train(config, out=s3, begin=Resume(s3))
    assert result.out == s3
    assert result.best == on_disk.best
    assert load_model(f"{s3}/best.pt").iteration == result.best.iteration
    assert result.metrics["mIoU"] == on_disk.metrics["mIoU"]
    ours, theirs = content(s3)["student"], content(tmp_path / "run")["student"]
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    names = storage.sizes(s3)
    assert {"checkpoint.pt", "config.json"} <= names.keys()
    assert sum("tfevents" in name for name in names) == 2
    assert load_model(s3).iteration == 4


@pytest.mark.slow
def test_training_from_shards_on_s3_equals_training_from_disk(tiny, s3, tmp_path):
    config = tiny(changes={"training.iterations": 2})
    for side in ("source", "target"):
        for file in open_shards(f"streets:{side}", config.data, "train").folder.iterdir():
            storage.upload(file, f"{s3}/{side}/{file.name}")
    moved = {"data.source": f"{s3}/source", "data.target": f"{s3}/target"}
    pgpc.train(config, out=tmp_path / "disk")
    pgpc.train(pgpc.override(config, moved), out=tmp_path / "s3")
    ours, theirs = (content(tmp_path / name)["student"] for name in ("s3", "disk"))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.slow
def test_a_failed_copy_stops_only_the_end_of_a_run(tiny, s3, monkeypatch, caplog):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(storage, "_ATTEMPTS", 1)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="The run is complete in"):
        pgpc.train(tiny(), out=s3)
    assert any("Training goes on; the next report is copied" in message for message in caplog.messages)
    assert (remote.working_folder(s3) / "checkpoint.pt").exists()


def test_nothing_to_go_on_from(tiny, s3):
    with pytest.raises(FileNotFoundError, match="No checkpoint.pt at"):
        pgpc.train(tiny(), out=s3, begin=Resume(s3))


def test_the_same_address_has_the_same_folder():
    assert remote.working_folder("s3://bucket/run/") == remote.working_folder("s3://bucket/run")
    assert remote.working_folder("s3://bucket/run") != remote.working_folder("s3://bucket/ruin")


def test_the_right_to_write_outlives_the_emptying_of_the_folder(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("pgpc.runtime.lease._SETTLE", 0.0)
    folder = tmp_path / "run"
    with remote.sole_writer(folder, s3, 0.0):
        remote.clear(folder)
        with pytest.raises(FolderInUseError, match="writes into"):
            remote.sole_writer(folder, s3, 0.0).__enter__()


def test_who_has_lost_the_right_copies_nothing(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("pgpc.runtime.lease._SETTLE", 0.0)
    first, second = Lease(s3), Lease(s3)
    first.take("")
    second.take(first.holder)
    first.renew()
    (tmp_path / "checkpoint.pt").touch()
    for last in (False, True):
        with pytest.raises(FolderInUseError, match="has begun to while this one was not heard of"):
            remote.copy_up(tmp_path, s3, first, last=last)
    assert "checkpoint.pt" not in storage.sizes(s3)
    remote.copy_up(tmp_path, s3, second, last=True)
    assert "checkpoint.pt" in storage.sizes(s3)


def test_a_copy_that_fails_is_a_warning_as_long_as_there_is_another_to_come(tmp_path, monkeypatch, caplog):
    def fail(folder, url):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync_up", fail)
    remote.copy_up(tmp_path, "s3://bucket/run", None, last=False)
    assert "Training goes on; the next report is copied" in caplog.text
    with pytest.raises(OSError, match="The run is complete in"):
        remote.copy_up(tmp_path, "s3://bucket/run", None, last=True)
