"""What the driver says that it is going to do."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from pgpc.data.shards.pack import pack
from sweeps.definition.folder import own_folder
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.preparation import Setup, _check_configs, _check_device, _described_sweep, _disk, check_data, describe
from sweeps.search.schedulers import settle_scheduler
from sweeps.search.trial_spec import Workers
from tests.helpers.data_sets import pack_own_pair
from tests.helpers.reports import TYPICAL, confirm, make_sweep


def described(storage: Path, **given: Any) -> list[str]:
    options = settle_scheduler(SweepOptions.from_given({"storage": str(storage), "name": "first", **given}))
    workers = Workers(count=2, cpus=1, gpus=0)
    return describe(Setup(sweep=new_sweep(options), workers=workers, concurrency=3, points=[])).splitlines()


def test_a_search_is_described(tmp_path: Path) -> None:
    settings = ("training.iterations=120",)
    assert described(tmp_path, set=settings, scheduler="pbt", trials=9) == [
        "Sweep first: a search of 9 trials around the preset streets, 120 iterations each",
        "How: search tpe, scheduler pbt with a population of 4 at 60 and 90",
        "On: 2 workers x 1 CPU per run, 3 runs at a time",
        "Chosen by: mIoU, which takes labels of the target: as the paper and the field do, and optimistic. --select-by "
        "names criteria without",
        f"Results in {tmp_path / 'first'}",
        f"To watch: tensorboard --logdir {tmp_path / 'first' / 'trials'}",
    ]
    [*_, watch] = described(tmp_path / "it's; a $HOME")
    assert shlex.split(watch.removeprefix("To watch: "))[-1] == str(tmp_path / "it's; a $HOME" / "first" / "trials")
    _, how, *_ = described(tmp_path, objectives=("mIoU", "seconds"), seeds=(0, 1))
    assert how == "How: search tpe, scheduler none, objectives mIoU and seconds"


def test_labels_of_the_target_that_are_trained_on_are_said(tmp_path: Path) -> None:
    trained = "; those that data.target_labels names are trained on"
    for choice in ("bnm", "mIoU"):
        [said] = [line for line in described(tmp_path, select_by=choice) if line.startswith("Chosen by")]
        few = described(tmp_path, select_by=choice, set=("data.target_labels=split:train",))
        assert trained not in said
        assert said.replace("is used", "is used in the choice") + trained in few


def test_a_choice_by_what_no_image_is_left_for_is_refused(tmp_path: Path) -> None:
    pair = pack_own_pair(tmp_path / "pair")
    data = (f"data.source={pair / 'source'}", f"data.target={pair / 'target'}", "data.eval_split=none")
    network = ("model.num_classes=3", "model.pretrained=none", "contrast.r=1")
    settings = (*data, *network, "data.target_labels=split:train")
    given = {"storage": str(tmp_path), "set": settings, "select_by": "rank:bnm,snd"}
    with pytest.raises(
        ValueError, match="--select-by must not name criteria on the target where .* got 'rank:bnm,snd'"
    ):
        check_data(new_sweep(SweepOptions.from_given(given)))


def test_workers_and_parts_must_share_a_batch(tmp_path: Path) -> None:
    def check(workers: int) -> None:
        settings = ("training.batch_size=4", "training.accumulate=2")
        options = SweepOptions(storage=str(tmp_path), name="a", set=settings, workers=workers)
        _check_configs(new_sweep(settle_scheduler(options)))

    check(2)
    with pytest.raises(
        ValueError, match=r"batch_size \(4\) must be .* --workers times training.accumulate \(2\), but got 4"
    ):
        check(4)


@pytest.mark.parametrize(("gpus", "own", "other"), [(0, "cpu", "cuda"), (1, "cuda", "cpu"), (0, "cpu", "mps")])
def test_the_environment_must_not_name_another_device_than_the_workers_have(gpus: int, own: str, other: str) -> None:
    workers = Workers(count=2, cpus=1, gpus=gpus)
    _check_device("", workers)
    _check_device(own, workers)
    with pytest.raises(ValueError, match=rf"PGPC_DEVICE must be unset .* have \({own}\), but got '{other}'. Unset it"):
        _check_device(other, workers)


def test_what_is_to_be_typed_is_quoted(tmp_path: Path) -> None:
    *_, watch = described(tmp_path / "my results; $HOME", name="it's")
    folder = str(tmp_path / "my results; $HOME" / "it's" / "trials")
    assert shlex.split(watch.removeprefix("To watch: ")) == ["tensorboard", "--logdir", folder]
    make_sweep(tmp_path, TYPICAL, {0: [10, 20, 29, 30.0]}, name="it's")
    with pytest.raises(ValueError, match="exists in .*") as error:
        described(tmp_path, name="it's")
    resume = str(error.value).partition("Resume it with ")[2].partition(", or choose")[0]
    assert shlex.split(resume) == ["--resume", "it's"]


@pytest.mark.parametrize("seeds", [None, (0, 1, 2)])
def test_tables_are_described(tmp_path: Path, seeds: tuple[int, ...] | None) -> None:
    what, *rest = described(tmp_path, table=(9, 12), **({"seeds": seeds} if seeds else {}))
    assert what.startswith("Sweep first: the 9 configs of the paper's tables 9 and 12 around the preset streets, ")
    assert what.endswith(", with each of the seeds 0, 1 and 2" if seeds else "iterations each")
    assert rest[0].startswith("On: ")


def test_encoders_are_described(tmp_path: Path) -> None:
    what, *_ = described(tmp_path, preset="streets/vfm-uda+pgpc", encoders=("test_vit", "test_vit2"))
    assert what.startswith("Sweep first: the 6 configs of what adaptation adds on encoders around the preset ")


def test_a_confirmation_is_described_and_is_of_a_sweep_that_has_ended(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, TYPICAL, {0: [10, 20, 29, 30.0]}, name="first")
    given = {"storage": str(tmp_path), "resume": "first", "confirm": 2, "seeds": (3, 4)}
    sweep = _described_sweep(given)
    assert list(sweep.confirms) == ["base", "0001", "0000"], "the best first"
    assert sweep.confirms["0001"]["contrast.eta"] == 0.2
    what = describe(Setup(sweep=sweep, workers=Workers(count=2, cpus=1, gpus=0), concurrency=3, points=[]))
    assert what.startswith(
        "Sweep confirmation: the confirmation of first, its base and its best trials 0001 and 0000 anew, 100 "
        "iterations each, with each of the seeds 3 and 4\n"
    )
    with own_folder(folder), pytest.raises(ValueError, match="--confirm must name a sweep that has ended, but 'first'"):
        _described_sweep(given)
    confirm(folder, {"base": {3: 30.0, 4: 31.0}, "0001": {3: 33.0, 4: 34.1}})
    again = {"storage": str(folder), "resume": "confirmation", "confirm": 1}
    assert _described_sweep(again).seeds == (3, 4), "its own name takes it up again, too"


def test_the_data_of_all_runs_are_checked_before_a_trial_starts(tmp_path: Path) -> None:
    """Also that they have labeled pixels: a scored split without gave NaN at the end of every trial."""

    def sweep_on(name: str, **values: int) -> Sweep:
        pair = pack_own_pair(tmp_path / name, **values)
        settings = (
            f"data.source={pair / 'source'}",
            f"data.target={pair / 'target'}",
            "model.num_classes=3",
            "model.pretrained=none",
        )
        options = SweepOptions.from_given({"storage": str(tmp_path), "name": name, "set": (*settings, "contrast.r=1")})
        return new_sweep(settle_scheduler(options))

    learned, scored = check_data(sweep_on("absent"))
    assert "No pixel of edge in Source images" in learned and "mIoU is the mean over the other 2 of 3 classes" in scored
    for name, values in (("source", {"source": 255}), ("val", {"val": 255})):
        with pytest.raises(ValueError, match="must have labeled pixels, but all pixels of their labels are ignored"):
            check_data(sweep_on(name, **values))


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_that_the_network_cannot_take_are_refused_before_a_trial_starts(split: str, tmp_path: Path) -> None:
    """Also those of the target that are cropped in training, but that criteria are measured on as a whole."""
    shards = pack_own_pair(tmp_path / "pair")
    for file in (tmp_path / "pair" / "target").rglob(f"{split}/*.png"):
        with Image.open(file) as picture:
            narrow = picture.resize((256, 16), Image.Resampling.NEAREST)
        narrow.save(file)
    pack("folder", tmp_path / "pair" / "target", tmp_path / "narrow", description=tmp_path / "pair" / "classes.json")
    settings = (
        *(f"data.source={shards / 'source'}", f"data.target={tmp_path / 'narrow'}", "model.num_classes=3"),
        *("model.pretrained=none", "contrast.r=1", "data.target_size=128,64", "data.crop=64"),
        "adaptation.ignore_bottom=4",
    )

    def check(*more: str) -> list[str]:
        options = SweepOptions(storage=str(tmp_path), name="a", set=(*settings, *more))
        return check_data(new_sweep(settle_scheduler(options)))

    with pytest.raises(ValueError, match=rf"into data.target_size, but 'a' \(split '{split}' .* 128 x 8 then"):
        check()
    if split == "train":
        assert check("evaluation.criteria_images=0")


def test_a_disk_without_room_is_refused_before_a_trial_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = new_sweep(SweepOptions(storage=str(tmp_path), name="a"))
    sweep.folder.mkdir()
    assert _disk(sweep, 1).startswith("up to ")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match="must have room for a checkpoint and the next one, .* Free space there"):
        _disk(sweep, 1)


def test_what_the_disk_must_take_is_said(tmp_path: Path) -> None:
    sweep = new_sweep(SweepOptions(storage=str(tmp_path), name="first"))
    workers = Workers(count=2, cpus=1, gpus=0)
    setup = Setup(sweep=sweep, workers=workers, concurrency=3, points=[], disk="up to 1.0 GB, ..")
    assert "Disk: up to 1.0 GB, .." in describe(setup).splitlines()
