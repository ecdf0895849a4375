"""The command ``pgpc pack``."""

import argparse
import re

import pytest

from pgpc.cli import main, pack
from pgpc.cli.progress import Progress
from pgpc.data.layouts import LAYOUTS
from pgpc.data.shards.manifest import read_manifest
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.generator import write_streets
from tests.helpers.cli import fails
from tests.helpers.pages import page


@pytest.fixture
def gta(tmp_path):
    """Three images and labels in GTA5's layout."""
    write_streets(StreetsConfig(num_source=3, num_target=1, num_val=1, height=64, width=64), tmp_path / "raw")
    return tmp_path / "raw/source"


def test_pack_writes_shards_once(gta, tmp_path, capsys):
    command = ["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")]
    main(command)
    assert capsys.readouterr() == (
        f"{tmp_path}/out is packed: train 3 images (3 with labels) in 1 file; 19 classes\n",
        "",
    )
    main(command)
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out is up to date: train 3 images")
    main(["pack", "--check", str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out is sound: train 3 images")


def test_pack_takes_the_splits_that_are_named_or_there(gta, tmp_path, capsys):
    command = ["pack", "--layout", "cityscapes", "--root", str(gta.parent / "target"), "--out", str(tmp_path / "out")]
    main(command)
    assert read_manifest(tmp_path / "out").splits.keys() == {"train", "val"}
    main([*command, "--split", "val"])
    assert read_manifest(tmp_path / "out").splits.keys() == {"val"}
    assert "'test' split" in fails(capsys, *command, "--split", "val", "--split", "test")


def test_pack_lists_bad_images_or_leaves_them_out(gta, tmp_path, capsys):
    images = sorted((gta / "images").iterdir())
    for image in images[:2]:
        image.write_bytes(b"")
    command = ["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")]
    lines = fails(capsys, *command).splitlines()
    assert "2 problems in the 3 images" in lines[0] and "--skip-bad" in lines[0]
    assert [line.partition(":")[0] for line in lines[1:]] == [f"images/{image.name}" for image in images[:2]]
    assert not (tmp_path / "out").exists()
    main([*command, "--skip-bad"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "left out 2 images:" and [line.strip() for line in lines[1:3]] == [
        image.problem for image in read_manifest(tmp_path / "out").skipped
    ]
    assert lines[3].endswith("1 image (1 with labels) in 1 file; 19 classes; 2 left out, listed in the manifest")


def test_check_lists_damage(gta, tmp_path, capsys):
    main(["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")])
    file = tmp_path / "out/train-00000.arrow"
    data = bytearray(file.read_bytes())
    for part in (1, 2):
        data[part * len(data) // 3] ^= 1
    file.write_bytes(data)
    lines = fails(capsys, "pack", "--check", str(tmp_path / "out")).splitlines()
    assert "out is damaged" in lines[0]
    assert lines[1] == f"{file}: the contents changed since they were packed (sha256 differs)"
    assert len(lines) == 4 and all("(train): " in line for line in lines[2:])


def test_pack_resumes_after_an_interrupt(gta, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "__call__", interrupt)
    with pytest.raises(SystemExit) as stop:
        main(["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")])
    assert stop.value.code == 130 and "the same command resumes" in capsys.readouterr().err
    assert (tmp_path / ".out.partial").is_dir()


def test_the_help_and_the_page_of_data_sets_name_all_layouts():
    commands = argparse.ArgumentParser().add_subparsers()
    pack.add(commands)
    (option,) = (action for action in commands.choices["pack"]._actions if action.dest == "layout")
    names = option.help.partition(": ")[2].replace("; or", ",").split(", ")
    assert names[: len(LAYOUTS)] == list(LAYOUTS)
    (sentence,) = re.findall(r"^Layouts are (.*?),? your own", page("data.md"), re.M)
    assert re.findall(r"`(\w+)`", sentence) == list(LAYOUTS)
