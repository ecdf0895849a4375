import json
import tracemalloc
import zipfile

import pytest
import torch

from pgpc.models.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    fetched,
    read_checkpoint,
    read_config_text,
    read_metrics,
    read_newest,
    write_checkpoint,
)
from pgpc.models.weight_files import read_weight_file
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
    assert read_config_text(folder) == "{}"
    (folder / CHECKPOINT).write_bytes(b"half")
    assert read_config_text(folder) == "{}", "of the previous one, as where there is no other"
    (folder / CHECKPOINT).unlink()
    assert read_config_text(folder) == "{}", "of the previous one"


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


@pytest.mark.parametrize("read", [read_checkpoint, read_newest, read_metrics, read_config_text])
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


def test_what_failed_and_killed_saves_have_left_is_removed(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(torch, "save", fail)
        write(tmp_path, 2)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT], "a failed save gives its space back"
    for left in (f"{CHECKPOINT}.123.tmp", f"{CHECKPOINT}.0a1b2c3d.tmp"):
        (tmp_path / left).write_bytes(b"half")
    read_newest(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT], "and so does the next start after a kill"


def test_a_small_archive_of_much_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / CHECKPOINT, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(64 * 2**20))
    assert (tmp_path / CHECKPOINT).stat().st_size < 2**20
    tracemalloc.start()
    for read in (read_checkpoint, read_newest, read_metrics):
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            read(tmp_path)
    with pytest.raises(ValueError, match=r"stand for 67,108,864, but files of torch.save are not compressed"):
        read_weight_file(tmp_path / CHECKPOINT)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("strange", [{"config": None}, {"step": "3"}, {"student": None}, {"config": {}}])
def test_a_checkpoint_whose_parts_are_of_another_kind_is_refused(tmp_path, strange):
    torch.save({**content(1), **strange}, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=f"is no checkpoint of pgpc: its {next(iter(strange))} must be"):
        read_checkpoint(tmp_path)
