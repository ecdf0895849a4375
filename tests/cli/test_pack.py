"""The command ``pgpc pack``."""

import argparse
import json
import re

import numpy as np
import pytest
from PIL import Image

from pgpc.cli import main, pack
from pgpc.cli.progress import Progress
from pgpc.data.label_files import decode_label
from pgpc.data.layouts.known import LAYOUTS
from pgpc.data.shards.manifest import read_manifest
from pgpc.data.shards.reader import Shards
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.generator import write_streets
from tests.helpers.cli import fails
from tests.helpers.pages import page
from tests.helpers.pictures import save


@pytest.fixture
def gta(tmp_path):
    """Three images and labels in GTA5's layout."""
    write_streets(StreetsConfig(num_source=3, num_target=1, num_val=1, height=64, width=64), tmp_path / "raw")
    return tmp_path / "raw/source"


def test_pack_writes_shards_once(gta, tmp_path, capsys):
    command = ["pack", "--layout", "gta5", "--root", str(gta), "--out", str(tmp_path / "out")]
    main(command)
    first, empty, *table = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}/out is packed: train 3 images (3 with labels) in 1 file; 19 classes" and empty == ""
    assert [line.split()[0] for line in table][:3] == ["class", "road", "sidewalk"]
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
    capsys.readouterr()
    lines = fails(capsys, "pack", "--check", str(tmp_path / "out")).splitlines()
    assert "out is damaged" in lines[0]
    assert lines[1] == f"{file}: the contents changed since they were packed (sha256 differs)"
    assert len(lines) == 4 and all("(train): " in line for line in lines[2:])


def test_pack_tells_of_labels_and_of_files_that_are_not_used(tmp_path, capsys):
    """Masks of 0 and 255 whose description has 0 and 1, beside a TIFF."""
    mask = np.full((32, 32), 255, dtype=np.uint8)
    mask[:8] = 0
    save(np.zeros((32, 32, 3), dtype=np.uint8), tmp_path / "raw/images/train/a.png")
    save(np.zeros((32, 32, 3), dtype=np.uint8), tmp_path / "raw/images/train/b.gif")
    save(mask, tmp_path / "raw/labels/train/a.png")
    classes = [{"name": "bg", "ids": [0]}, {"name": "fg", "ids": [1]}]
    (tmp_path / "c.json").write_text(json.dumps({"classes": classes, "ignore": "rest"}))
    command = ["pack", "--layout", "folder", "--root", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    for _ in range(2):  # the second finds that nothing changed, and tells it all the same
        main([*command, "--classes", str(tmp_path / "c.json")])
        shown = capsys.readouterr()
        assert [line.split()[0] for line in shown.out.splitlines()[2:]] == ["class", "bg", "fg", "(ignored)"]
        assert "warning: No pixel of split 'train' is of fg." in shown.err
        assert "255 (75.00 %)" in shown.err and "images/train/: 1 .gif (b.gif)" in shown.err
    main([*command[:-1], str(tmp_path / "other")])
    assert "Without --classes labels are taken for Cityscapes' train ids" in capsys.readouterr().err


def test_pack_takes_lists_endings_and_how_labels_lie(tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 3
    label = np.arange(32 * 32).reshape(32, 32).astype(np.uint8) % 19
    for name in ("a", "b"):
        save(np.zeros((32, 32, 3), dtype=np.uint8), tmp_path / f"raw/images/day/{name}_rgb.jpg", exif=exif)
        save(label, tmp_path / f"raw/labels/day/{name}_seg.png")
        (tmp_path / f"{name}.txt").write_text(f"day/{name}")
    command = ["pack", "--layout", "folder", "--root", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    command += ["--image-suffix", "_rgb.jpg", "--label-suffix", "_seg.png"]
    command += ["--split-file", f"train={tmp_path}/a.txt", "--split-file", f"val={tmp_path}/b.txt"]
    main(command)
    assert "turned as their EXIF orientation says, as viewers show them: 1. See" in capsys.readouterr().err
    shards = Shards.open(tmp_path / "out", "train")
    assert shards.names == ["day/a"] and np.array_equal(decode_label(shards.label_bytes(0)), label)
    main([*command, "--label-orientation", "stored"])
    stored = decode_label(Shards.open(tmp_path / "out", "val").label_bytes(0))
    assert np.array_equal(stored, label[::-1, ::-1])
    assert "must be SPLIT=FILE" in fails(capsys, *command, "--split-file", "train.txt")
    assert "given once a split" in fails(capsys, *command, "--split-file", "val=x.txt")
    assert "packs nothing" in fails(capsys, "pack", "--check", tmp_path / "out", "--label-orientation", "stored")


def test_pack_names_no_classes_where_there_are_no_labels(tmp_path, capsys):
    save(np.zeros((32, 32, 3), dtype=np.uint8), tmp_path / "photos/a.png")
    main(["pack", str(tmp_path / "photos"), str(tmp_path / "out")])
    assert capsys.readouterr().out.splitlines()[-1].endswith("train 1 image (0 with labels) in 1 file")


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
    (sentence,) = re.findall(r"^Layouts are (.*?),? your own", page("data.md"), re.M | re.S)
    assert re.findall(r"`([\w-]+)`", sentence) == list(LAYOUTS)
