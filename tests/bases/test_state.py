"""Checkpoints on disk: what is kept, what is refused, what is gone on from instead."""

import logging
import os
import re

import pytest
import torch

import pgpc
from pgpc.bases.state import TrainingState
from pgpc.config import adjustable_keys, bookkeeping_keys, flatten, place_keys
from pgpc.models.checkpoint import read_checkpoint


def saved(state, folder, *steps):
    for step in steps:
        state.step = step
        state.save(folder)


def flip_a_bit(content):
    """In the middle, where the tensors are."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "torn": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "another file": lambda content: b"no checkpoint",
    "one bit": flip_a_bit,
}


def damage(path, how):
    path.write_bytes(DAMAGES[how](path.read_bytes()))


@pytest.fixture
def state(tiny):
    return TrainingState(tiny(), torch.device("cpu"))


def test_the_checkpoint_before_the_last_is_kept(state, tmp_path):
    saved(state, tmp_path, 1, 2, 3)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.pt", "previous.pt"]
    assert read_checkpoint(tmp_path)["step"] == 3
    assert torch.load(tmp_path / "previous.pt")["step"] == 2


@pytest.mark.slow
def test_at_every_instant_one_checkpoint_is_complete(state, tmp_path, monkeypatch):
    """The process may be killed at any call that changes the folder."""
    saved(state, tmp_path, 1, 2)
    replace, found, seen = os.replace, TrainingState(state.config, torch.device("cpu")), []

    def load():
        found.load(tmp_path)
        seen.append(found.step)

    def watched(*names):
        load()
        replace(*names)
        load()

    monkeypatch.setattr("pgpc.runtime.files.os.replace", watched)
    saved(state, tmp_path, 3)
    assert seen == [2, 2, 2, 3]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_words(state, tmp_path, how):
    saved(state, tmp_path, 1)
    damage(tmp_path / "checkpoint.pt", how)
    with pytest.raises(ValueError, match=r"checkpoint.pt cannot be read as a checkpoint \(.*start afresh"):
        read_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint.pt cannot be read as a checkpoint \(.*start afresh"):
        state.load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGES)
def test_from_a_damaged_checkpoint_a_run_falls_back_to_the_one_before(state, tmp_path, caplog, how):
    saved(state, tmp_path, 1, 2)
    damage(tmp_path / "checkpoint.pt", how)
    with pytest.raises(ValueError, match=r"There is an earlier one, previous.pt: rename it"):
        read_checkpoint(tmp_path)

    with caplog.at_level(logging.WARNING):
        state.load(tmp_path)
    assert state.step == 1
    assert len(caplog.records) == 1
    assert "checkpoint.pt cannot be read as a checkpoint (" in caplog.text
    assert f"Resuming from {tmp_path / 'previous.pt'}, iteration 1." in caplog.text

    saved(state, tmp_path, 2)  # must not put the damaged one in the place of the good one
    assert read_checkpoint(tmp_path)["step"] == 2
    assert torch.load(tmp_path / "previous.pt")["step"] == 1
    saved(state, tmp_path, 3)
    assert torch.load(tmp_path / "previous.pt")["step"] == 2


def test_two_damaged_checkpoints_are_both_named(state, tmp_path):
    saved(state, tmp_path, 1, 2)
    damage(tmp_path / "checkpoint.pt", "torn")
    damage(tmp_path / "previous.pt", "one bit")
    with pytest.raises(ValueError, match=r"(?s)checkpoint.pt cannot be read.*previous.pt cannot be read.*checksum"):
        state.load(tmp_path)


def test_an_empty_folder_is_no_checkpoint(state, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No checkpoint.pt in .* Give the folder"):
        state.load(tmp_path)


def test_processes_that_found_different_checkpoints_do_not_go_on(state, tmp_path, monkeypatch):
    saved(state, tmp_path, 2)
    monkeypatch.setattr("pgpc.bases.state.distributed.all_gather", lambda x: torch.stack([x, x - 1]))
    with pytest.raises(ValueError, match=r"the same checkpoint, but in .* iterations \[2, 1\]"):
        state.load(tmp_path)


def test_files_may_lie_elsewhere_when_a_run_goes_on(tiny, tmp_path, caplog):
    config = tiny(changes={"data.target": "/mnt/a/target"})
    saved(TrainingState(config, torch.device("cpu")), tmp_path, 1)
    moved = {"data.target": "/mnt/b/target", "evaluation.window": 64, "evaluation.window_stride": 32}
    state = TrainingState(pgpc.override(config, moved), torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        state.load(tmp_path)
    assert state.step == 1
    assert "data.target was /mnt/a/target and is /mnt/b/target: its contents must be the same." in caplog.messages


def test_another_config_is_refused(state, tiny, tmp_path):
    saved(state, tmp_path, 1)
    other = TrainingState(tiny(changes={"contrast.eta": 0.25}), torch.device("cpu"))
    with pytest.raises(ValueError, match="differs in contrast.eta: 0.5 there, 0.25 here"):
        other.load(tmp_path)


@pytest.mark.parametrize("adjust", [False, True], ids=["resumed", "forked"])
def test_every_key_is_compared_but_those_that_are_listed(state, tmp_path, monkeypatch, adjust):
    saved(state, tmp_path, 1)
    ours = flatten(state.config)
    both = iter([ours, dict.fromkeys(ours, "another")])
    monkeypatch.setattr("pgpc.bases.state.flatten", lambda config: next(both))
    with pytest.raises(ValueError, match="differs in") as refusal:
        state.load(tmp_path, adjust=adjust)
    may_differ = {*bookkeeping_keys(), *place_keys(), *(adjustable_keys() if adjust else ())}
    assert set(re.findall(r"([\w.]+): 'another' there", str(refusal.value))) == set(ours) - may_differ
    assert "optimizer.lr" not in may_differ
