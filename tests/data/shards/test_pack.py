"""Packing: what arrives in the shards, and that neither a bad data set nor an interruption leaves half of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import CITYSCAPES_TRAIN_IDS
from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.data.shards import parallel, writer
from pgpc.data.shards.label_totals import LabelTotals
from pgpc.data.shards.manifest import ShardError, read_manifest
from pgpc.data.shards.pack import PackError, pack
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import verify
from pgpc.data.tiles import is_tiled
from pgpc.runtime import storage
from tests.helpers.data_sets import write_folder, write_gta5


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_after(count: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[[int, int], None]:
    """A progress callback that ends packing."""

    def on_progress(done: int, total: int) -> None:
        if done >= count:
            raise error

    return on_progress


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of :func:`write_gta5` fill a shard file."""
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", 11_000)


def test_rows_hold_the_pixels_as_they_were_and_labels_as_train_ids(tmp_path: Path) -> None:
    raw = write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    shards = Shards.open(tmp_path / "out", "train")
    assert shards.names == sorted(raw)
    for row, name in enumerate(shards.names):
        pixels = np.array(Image.open(tmp_path / f"gta/images/{name}.png"))
        assert is_tiled(shards.image_bytes(row)) and np.array_equal(decode_image(shards.image_bytes(row)), pixels)
        expected = CITYSCAPES_TRAIN_IDS[raw[name]]
        assert np.array_equal(decode_label(shards.label_bytes(row)), expected)
        assert shards.class_pixels[row].tolist() == [(expected == c).sum() for c in range(19)]
    assert shards.sizes.tolist() == [[40, 32]] * 5


def test_the_manifest_adds_up(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    train = manifest["splits"]["train"]
    assert (manifest["version"], manifest["layout"], len(manifest["classes"])) == (3, "gta5", 19)
    assert (train["count"], train["labelled"]) == (5, 5)
    class_pixels = Shards.open(tmp_path / "out", "train").class_pixels
    assert train["class_pixels"] == class_pixels.sum(0).tolist()
    assert train["class_images"] == [5 if k in (0, 2, 11, 13) else 0 for k in range(19)]
    assert manifest["skipped"] == []
    (file,) = train["files"]
    assert file["name"] == "train-00000.arrow" and file["rows"] == 5
    assert (tmp_path / "out" / file["name"]).stat().st_size == file["size"]


def test_palette_labels_and_train_id_files_are_read(tmp_path: Path) -> None:
    raw = write_gta5(tmp_path / "gta", count=2)
    paletted = Image.fromarray(raw["00000"])
    paletted = Image.frombytes("P", paletted.size, paletted.tobytes())
    paletted.putpalette(list(range(255, -1, -1)) * 3)
    paletted.save(tmp_path / "gta/labels/00000.png")
    (tmp_path / "gta/labels/00001.png").unlink()
    Image.fromarray(CITYSCAPES_TRAIN_IDS[raw["00001"]]).save(tmp_path / "gta/labels/00001_labelTrainIds.png")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    shards = Shards.open(tmp_path / "out", "train")
    for row, name in enumerate(shards.names):
        assert np.array_equal(decode_label(shards.label_bytes(row)), CITYSCAPES_TRAIN_IDS[raw[name]])


@pytest.mark.parametrize(("kind", "tiled"), [("png", True), ("bmp", True), ("jpeg", False), ("webp", False)])
def test_only_lossless_originals_become_tiles(tmp_path: Path, kind: str, tiled: bool) -> None:
    folder = tmp_path / "raw/images/train"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"a.{kind}")
    pack("folder", tmp_path / "raw", tmp_path / "out")
    original = (folder / f"a.{kind}").read_bytes()
    stored = Shards.open(tmp_path / "out", "train").image_bytes(0)
    assert is_tiled(stored) == tiled and (stored == original) == (not tiled)
    assert np.array_equal(decode_image(stored), decode_image(original))


def test_files_and_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gta5(tmp_path / "gta", count=7)
    pack("gta5", tmp_path / "gta", tmp_path / "one")
    shards = Shards.open(tmp_path / "one", "train")
    size = max(len(shards.image_bytes(i)) + len(shards.label_bytes(i)) for i in range(7))
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", 3 * size)
    monkeypatch.setattr(writer, "BATCH_BYTES", size + 1)
    pack("gta5", tmp_path / "gta", tmp_path / "many")
    files = json.loads((tmp_path / "many/manifest.json").read_text())["splits"]["train"]["files"]
    assert [file["name"] for file in files] == [f"train-{i:05d}.arrow" for i in range(3)]
    assert [file["rows"] for file in files] == [3, 3, 1]
    split = Shards.open(tmp_path / "many", "train")
    assert split.names == shards.names and np.array_equal(split.class_pixels, shards.class_pixels)
    assert all(split.image_bytes(i) == shards.image_bytes(i) for i in range(7))
    assert all(split.label_bytes(i) == shards.label_bytes(i) for i in range(7))


def damage(root: Path) -> list[tuple[str, str]]:
    """Make five of the six images of a data set bad; what must be said of each."""
    raw = write_gta5(root, count=6)
    (root / "images/00000.png").write_bytes((root / "images/00000.png").read_bytes()[:-400])
    (root / "labels/00001.png").write_bytes(b"no picture")
    Image.fromarray(raw["00002"][:-1]).save(root / "labels/00002.png")
    Image.fromarray(raw["00003"] + np.uint8(100)).save(root / "labels/00003.png")
    (root / "labels/00005.png").unlink()
    return [
        ("images/00000.png: ", "truncated"),
        ("labels/00001.png: ", "must be a PNG"),
        ("labels/00002.png: ", "label is 40 x 31, its image is 40 x 32"),
        ("labels/00003.png: ", "[100, 107, 111, 124, 126]"),
        ("images/00005.png: ", "label file is missing"),
    ]


def test_all_problems_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    expected = damage(tmp_path / "gta")
    with pytest.raises(PackError) as caught:
        pack("gta5", tmp_path / "gta", tmp_path / "out")
    first, *problems = str(caught.value).splitlines()
    assert "5 problems in the 6 images" in first and "--skip-bad" in first
    for problem, (file, text) in zip(problems, expected, strict=True):
        assert problem.startswith(file) and text in problem
    assert [path.name for path in tmp_path.iterdir()] == ["gta"]


def test_bad_images_can_be_left_out(tmp_path: Path) -> None:
    expected = damage(tmp_path / "gta")
    packed = pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=True)
    assert Shards.open(tmp_path / "out", "train").names == ["00004"]
    skipped = read_manifest(tmp_path / "out").skipped
    assert skipped == packed.manifest.skipped
    assert [(image.split, image.name) for image in skipped] == [("train", f"0000{k}") for k in (0, 1, 2, 3, 5)]
    for image, (file, text) in zip(skipped, expected, strict=True):
        assert image.problem.startswith(file) and text in image.problem
    verify(tmp_path / "out")
    assert pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=True).up_to_date
    with pytest.raises(PackError, match="5 problems in the 6"):  # such shards are not what was asked for
        pack("gta5", tmp_path / "gta", tmp_path / "out")
    assert len(Shards.open(tmp_path / "out", "train")) == 1


def test_a_label_without_an_image_is_a_sign_that_images_are_missing(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta", count=3)
    (tmp_path / "gta/images/00001.png").unlink()
    with pytest.raises(PackError, match=r"(?s)1 problem in the 2.*labels/00001.png: its image is missing"):
        pack("gta5", tmp_path / "gta", tmp_path / "out")
    packed = pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=True)
    assert [image.name for image in packed.manifest.skipped] == ["labels/00001.png"]
    assert Shards.open(tmp_path / "out", "train").names == ["00000", "00002"]


def test_two_images_of_one_name_are_left_out_with_the_bad_ones(tmp_path: Path) -> None:
    write_folder(tmp_path / "raw")
    Image.new("RGB", (40, 32)).save(tmp_path / "raw/images/train/c.jpg")
    description = tmp_path / "raw/classes.json"
    with pytest.raises(PackError, match=r"(?s)2 problems in the 5 .*train/c.jpg: its name .*train/c.png"):
        pack("folder", tmp_path / "raw", tmp_path / "out", description=description)
    pack("folder", tmp_path / "raw", tmp_path / "out", description=description, skip_bad=True)
    assert Shards.open(tmp_path / "out", "train").names == ["a", "b ü"]
    verify(tmp_path / "out")


def test_what_labels_hold_is_counted_and_what_is_not_used_is_told(tmp_path: Path) -> None:
    """Masks of 0 and 255 whose description has 0 and 1: all of one class, and half of it is ignored unseen."""
    for folder in ("images/train", "labels/train"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    mask = np.zeros((32, 40), dtype=np.uint8)
    mask[:8] = 255
    for name, label in (("a", mask), ("b", np.full_like(mask, 255))):
        Image.new("RGB", (40, 32)).save(tmp_path / f"raw/images/train/{name}.png")
        Image.fromarray(label).save(tmp_path / f"raw/labels/train/{name}.png")
    Image.new("RGB", (40, 32)).save(tmp_path / "raw/images/train/c.gif")
    text = {"classes": [{"name": "bg", "ids": [0]}, {"name": "fg", "ids": [1]}], "ignore": "rest"}
    (tmp_path / "classes.json").write_text(json.dumps(text))
    packed = pack("folder", tmp_path / "raw", tmp_path / "out", description=tmp_path / "classes.json")
    split = read_manifest(tmp_path / "out").splits["train"]
    assert (split.class_pixels, split.class_images) == ((24 * 40, 0), (1, 0))
    assert split.totals == LabelTotals(pixels=2 * 32 * 40, blank_images=1, rest={"255": 40 * 40})
    assert [file.name for file in packed.unused] == ["c.gif"]
    again = pack("folder", tmp_path / "raw", tmp_path / "out", description=tmp_path / "classes.json")
    assert again.up_to_date and again.unused == packed.unused


def test_shards_of_another_data_set_are_not_replaced(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta", count=2)
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    with pytest.raises(ValueError, match="holds a data set of layout 'gta5' and 'folder' was given"):
        pack("folder", tmp_path / "gta", tmp_path / "out")
    assert len(Shards.open(tmp_path / "out", "train")) == 2


def test_a_split_is_not_left_without_images(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta", count=1)
    (tmp_path / "gta/images/00000.png").write_bytes(b"")
    with pytest.raises(PackError, match="(?s)No image of split 'train' .*images/00000.png"):
        pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=True)
    assert [path.name for path in tmp_path.iterdir()] == ["gta"]


def test_unchanged_files_are_not_packed_again(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    assert not pack("gta5", tmp_path / "gta", tmp_path / "out").up_to_date
    before = (tmp_path / "out").stat().st_ino
    again = pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=stop_after(0))
    assert again.up_to_date and again.manifest == read_manifest(tmp_path / "out")
    assert (tmp_path / "out").stat().st_ino == before
    os.utime(tmp_path / "gta/labels/00003.png", (1, 1))
    assert not pack("gta5", tmp_path / "gta", tmp_path / "out").up_to_date
    os.truncate(tmp_path / "out/train-00000.arrow", 10)
    assert not pack("gta5", tmp_path / "gta", tmp_path / "out").up_to_date
    verify(tmp_path / "out")


@pytest.mark.usefixtures("small_files")
def test_packing_anew_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gta5(tmp_path / "gta", count=7)
    for threads in (1, 5):
        monkeypatch.setattr(parallel, "usable_cpus", lambda threads=threads: threads)
        pack("gta5", tmp_path / "gta", tmp_path / f"out{threads}")
    assert len(contents(tmp_path / "out1")) == 5  # four files and the manifest
    assert contents(tmp_path / "out1") == contents(tmp_path / "out5")


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize(("skip_bad", "first"), [(False, 6), (True, 7)])
def test_an_interrupted_run_goes_on(tmp_path: Path, skip_bad: bool, first: int) -> None:
    write_gta5(tmp_path / "gta", count=9)
    if skip_bad:
        for name in ("00000", "00003", "00004", "00008"):
            (tmp_path / f"gta/images/{name}.png").write_bytes(b"")
    pack("gta5", tmp_path / "gta", tmp_path / "whole", skip_bad=skip_bad)
    for stop in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=skip_bad, on_progress=stop_after(stop))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "gta", "whole"]
    progress = []
    pack("gta5", tmp_path / "gta", tmp_path / "out", skip_bad=skip_bad, on_progress=lambda *p: progress.append(p))
    # Images 0 to 5 are the first three files; without the bad ones 0, 3 and 4, images 1 to 6 are the first two.
    assert progress == [(done, 9) for done in range(first, 10)]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gta", "out", "whole"]


@pytest.mark.usefixtures("small_files")
def test_an_interrupted_run_does_not_go_on_with_other_files(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta", count=9)
    with pytest.raises(KeyboardInterrupt):
        pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=stop_after(8))
    write_gta5(tmp_path / "gta", count=8)
    progress = []
    pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=lambda *p: progress.append(p))
    assert progress[0] == (1, 9)
    verify(tmp_path / "out")
    image = decode_image(Shards.open(tmp_path / "out", "train").image_bytes(0))
    assert np.array_equal(image, np.array(Image.open(tmp_path / "gta/images/00000.png")))


_KILLED = """
import os, signal, sys
from pgpc.data.shards import writer
from pgpc.data.shards.pack import pack
writer.MAX_FILE_BYTES = 11_000
def kill(done, total):
    if done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
pack("gta5", sys.argv[1], sys.argv[2], on_progress=kill)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("small_files")
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta", count=9)
    pack("gta5", tmp_path / "gta", tmp_path / "whole")
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "gta", tmp_path / "out"])
    assert killed.returncode == -signal.SIGKILL
    partial = tmp_path / ".out.partial"
    assert {path.name for path in partial.iterdir()} == {"journal.jsonl", "lock", "shards"}
    with (partial / "journal.jsonl").open("a") as journal:
        journal.write('{"split": "tra')  # as if it had been killed while it wrote this
    (partial / "shards/train-00009.arrow").write_bytes(b"half a fil")
    progress = []
    pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=lambda *p: progress.append(p))
    assert progress[0] == (4, 9)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not partial.exists()


def test_a_run_killed_while_it_published(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    (tmp_path / ".out.partial").mkdir()
    os.replace(tmp_path / "out", tmp_path / ".out.partial/replaced")
    write_gta5(tmp_path / "gta", count=6)
    with pytest.raises(KeyboardInterrupt):
        pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=stop_after(1))
    assert len(Shards.open(tmp_path / "out", "train")) == 5
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    assert len(Shards.open(tmp_path / "out", "train")) == 6


def test_two_packers_of_one_folder(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    refused = []

    def second(done: int, total: int) -> None:
        if done == 3:
            with pytest.raises(ValueError, match="Another process packs into .*out. Wait"):
                pack("gta5", tmp_path / "gta", tmp_path / "out")
            refused.append(done)

    pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=second)
    assert refused == [3]
    verify(tmp_path / "out")


def test_a_full_disk(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(PackError, match=f"^{tmp_path} cannot be written: .*File too large.* Free space"):
            pack("gta5", tmp_path / "gta", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["gta"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    (tmp_path / "file").touch()
    with pytest.raises(PackError, match="file cannot be written: .*choose another folder"):
        pack("gta5", tmp_path / "gta", tmp_path / "file/out")


def test_interrupted_packing_leaves_the_old_shards(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    write_gta5(tmp_path / "gta", count=6)

    with pytest.raises(KeyboardInterrupt):
        pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=stop_after(4))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "gta", "out"]


def test_shards_are_replaced_but_other_folders_are_not(tmp_path: Path) -> None:
    write_gta5(tmp_path / "gta")
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    write_gta5(tmp_path / "gta", count=6)
    progress = []
    pack("gta5", tmp_path / "gta", tmp_path / "out", on_progress=lambda *p: progress.append(p))
    assert len(Shards.open(tmp_path / "out", "train")) == 6
    assert progress == [(done, 6) for done in range(1, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gta", "out"]
    with pytest.raises(ValueError, match="holds images, labels"):
        pack("gta5", tmp_path / "gta", tmp_path / "gta")


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"splits train, val, test, but got trian"):
        pack("cityscapes", tmp_path, tmp_path / "out", splits=["trian"])
    with pytest.raises(ValueError, match="but got none"):
        pack("cityscapes", tmp_path, tmp_path / "out", splits=[])


def test_own_classes_and_images_without_labels(tmp_path: Path) -> None:
    write_folder(tmp_path / "raw")
    pack("folder", tmp_path / "raw", tmp_path / "out", description=tmp_path / "raw/classes.json")
    assert list(read_manifest(tmp_path / "out").splits) == ["train", "test"]  # those that exist
    shards = Shards.open(tmp_path / "out", "train")
    assert shards.classes.names == ("ground", "tree") and shards.names == ["a", "b ü", "c"]
    assert shards.num_labeled == 2
    assert shards.label_bytes(0) is None and shards.class_pixels[0].sum() == 0
    assert shards.label_bytes(1) is not None and shards.class_pixels[1].sum() == 32 * 40
    assert Shards.open(tmp_path / "out", "test").num_labeled == 0
    verify(tmp_path / "out")
    text = (tmp_path / "raw/classes.json").read_text()
    (tmp_path / "raw/classes.json").write_text(text.replace('"tree"', '"plant"'))
    assert not pack("folder", tmp_path / "raw", tmp_path / "out", description=tmp_path / "raw/classes.json").up_to_date
    assert Shards.open(tmp_path / "out", "train").classes.names == ("ground", "plant")


def test_some_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "raw")
    pack("folder", tmp_path / "raw", tmp_path / "out", splits=["test"])
    assert list(read_manifest(tmp_path / "out").splits) == ["test"]
    with pytest.raises(FileNotFoundError, match="'val' split"):
        pack("folder", tmp_path / "raw", tmp_path / "out", splits=["test", "val"])
    with pytest.raises(FileNotFoundError, match="root of a data set must be a folder"):
        pack("folder", tmp_path / "nowhere", tmp_path / "out")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where work on shards on S3 lies until it is done."""
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.usefixtures("small_files")
def test_packing_to_s3_equals_packing_to_a_folder(tmp_path: Path, cache: Path, s3: str) -> None:
    write_gta5(tmp_path / "gta", count=5)
    pack("gta5", tmp_path / "gta", tmp_path / "out")
    pack("gta5", tmp_path / "gta", s3)
    assert list(cache.iterdir()) == []
    there = {name: storage.read(f"{s3}/{name}") for name in storage.sizes(s3)}
    here = contents(tmp_path / "out")
    del there["manifest.json"], here["manifest.json"]
    assert sorted(there.values()) == sorted(here.values()) and len(here) == 3
    verify(s3)
    assert pack("gta5", tmp_path / "gta", s3).up_to_date


@pytest.mark.slow
@pytest.mark.usefixtures("small_files")
def test_shards_on_s3_are_replaced_at_the_end(tmp_path: Path, cache: Path, s3: str) -> None:
    write_gta5(tmp_path / "gta", count=5)
    pack("gta5", tmp_path / "gta", s3)
    before = storage.sizes(s3)
    write_gta5(tmp_path / "gta", count=6)
    with pytest.raises(KeyboardInterrupt):
        pack("gta5", tmp_path / "gta", s3, on_progress=stop_after(5))
    assert len(storage.sizes(s3)) == len(before) + 2 and before.items() <= storage.sizes(s3).items()
    assert len(Shards.open(s3, "train")) == 5  # the old ones, whole
    progress = []
    pack("gta5", tmp_path / "gta", s3, on_progress=lambda *p: progress.append(p))
    assert progress[0] == (4, 6)
    assert len(Shards.open(s3, "train")) == 6 and len(storage.sizes(s3)) == 4
    (tmp_path / "gta/images/00005.png").write_bytes(b"")
    after = storage.sizes(s3)
    with pytest.raises(PackError, match="1 problem in the 6"):
        pack("gta5", tmp_path / "gta", s3)
    assert storage.sizes(s3) == after
    assert [path.name for path in cache.iterdir()] == ["shards"]  # what was read


@pytest.mark.slow
@pytest.mark.usefixtures("small_files")
def test_a_lost_connection_is_gone_on_with(
    tmp_path: Path, cache: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gta5(tmp_path / "gta", count=5)

    def lose(done: int, total: int) -> None:
        if done == 3:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    with pytest.raises(storage.StorageError, match="cannot be reached"):
        pack("gta5", tmp_path / "gta", s3, on_progress=lose)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with pytest.raises(ShardError, match="has none"):
        read_manifest(s3)
    progress = []
    pack("gta5", tmp_path / "gta", s3, on_progress=lambda *p: progress.append(p))
    assert progress[0] == (2, 5)
    verify(s3)
    assert list(cache.iterdir()) == []
