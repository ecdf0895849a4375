import json

import pytest
import torch

from pgpc.models.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    fetched,
    read_checkpoint,
    read_metrics,
    read_newest,
    write_checkpoint,
)
from pgpc.runtime import storage


def content(step):
    return {
        "config": json.dumps({}),
        "step": step,
        "student": {"w": torch.full((10_000,), step)},
        "metrics": {"mIoU": step},
    }


def write(folder, *steps, **options):
    for step in steps:
        write_checkpoint(folder, content(step), **options)
    return folder


def flip(file):
    """Change one bit of the weights."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_the_one_before_is_kept(tmp_path):
    folder = write(tmp_path / "new", 1, 2, 3)
    assert sorted(file.name for file in folder.iterdir()) == sorted([CHECKPOINT, PREVIOUS])
    read = read_checkpoint(folder)
    assert read["step"] == 3 and read["student"]["w"].unique().tolist() == [3]
    assert torch.load(folder / PREVIOUS)["step"] == 2
    assert read_metrics(folder) == {"mIoU": 3}


def test_the_newest_that_can_be_read_is_taken(tmp_path):
    write(tmp_path, 1, 2)
    assert read_newest(tmp_path)[1:] == (tmp_path / CHECKPOINT, "")
    flip(tmp_path / CHECKPOINT)
    newest = read_newest(tmp_path)
    assert (newest.content["step"], newest.file) == (1, tmp_path / PREVIOUS)
    assert "cannot be read as a checkpoint" in newest.problem
    with pytest.raises(ValueError, match=rf"There is an earlier one, {PREVIOUS}: rename it to {CHECKPOINT}"):
        read_checkpoint(tmp_path)
    flip(tmp_path / PREVIOUS)
    with pytest.raises(ValueError, match="holds no checkpoint that can be read"):
        read_newest(tmp_path)


def test_a_damaged_one_does_not_replace_the_one_that_was_read(tmp_path):
    write(tmp_path, 1, 2)
    flip(tmp_path / CHECKPOINT)
    write(tmp_path, 5, damaged=(tmp_path / CHECKPOINT).resolve())
    assert (read_checkpoint(tmp_path)["step"], torch.load(tmp_path / PREVIOUS)["step"]) == (5, 1)


def test_what_is_half_written_is_no_checkpoint(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path, 2)
    assert read_checkpoint(tmp_path)["step"] == 1


@pytest.mark.parametrize("read", [read_checkpoint, read_newest, read_metrics])
def test_nothing_there_and_files_of_others(read, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
    torch.save([1], tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match="is no checkpoint of pgpc|cannot be read as a checkpoint"):
        read(tmp_path)


def test_a_checkpoint_on_s3_is_fetched(s3, tmp_path):
    write(tmp_path / "run", 1, 2)
    storage.sync_up(tmp_path / "run", f"{s3}/run")
    for address in (f"{s3}/run", f"{s3}/run/{CHECKPOINT}"):
        with fetched(address) as folder:
            assert read_checkpoint(folder)["step"] == 2
            assert torch.load(folder / PREVIOUS)["step"] == 1
        assert not folder.exists()
    with pytest.raises(FileNotFoundError, match=f"No {CHECKPOINT} at"), fetched(f"{s3}/nowhere"):
        pass
    with fetched(tmp_path / "run") as folder:
        assert folder == tmp_path / "run"
