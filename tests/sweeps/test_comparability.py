"""A driver compares what it finds with what the drivers before have found, before anything is trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.common.surroundings import Surroundings
from sweeps.comparability import look_around
from sweeps.definition.confirmation import confirmation_of
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.execution.slots.training import check_data
from sweeps.finalize import write_tables
from sweeps.reporting.write import write_report
from sweeps.search.trial_spec import TrialSpec, Workers
from tests.helpers.data_sets import TWO_CLASSES, write_two_classes

WORKERS = Workers(count=2, cpus=3, gpus=0)
Begin = Callable[..., Sweep]


@pytest.fixture
def repack(tmp_path: Path) -> Callable[..., None]:
    """Packs shards of two classes anew into the same folder."""

    def write(classes: dict[str, int] = TWO_CLASSES, seed: int = 0, things: tuple[str, ...] = ()) -> None:
        write_two_classes(tmp_path / "raw", tmp_path / "shards", classes, seed, things)

    write()
    return write


@pytest.fixture
def begin(repack: Callable[..., None], tmp_path: Path) -> Begin:
    """Begins a sweep on the shards, as its first driver does."""

    def make(name: str = "mine", searched: tuple[str, ...] = (), **options: Any) -> Sweep:
        places = [f"{key}={tmp_path / 'shards'}" for key in ("data.source", "data.target") if key not in searched]
        settings = (*places, "model.pretrained=none", "model.num_classes=2", "contrast.r=1")
        sweep = new_sweep(SweepOptions(storage=str(tmp_path), name=name, set=settings, **options))
        (sweep.folder / "trials").mkdir(parents=True)
        sweep.save(look_around(sweep, WORKERS))
        return Sweep.load(sweep.folder)

    return make


def accepting(sweep: Sweep) -> Sweep:
    return dataclasses.replace(sweep, options=dataclasses.replace(sweep.options, accept_changed_data=True))


def test_what_a_driver_finds_is_in_sweep_json(begin: Begin, tmp_path: Path) -> None:
    sweep = begin()
    found = json.loads(sweep.file.read_text())["runs"][0]["surroundings"]
    shards = tmp_path / "shards"
    assert found["data"].keys() == {f"{shards} (train)", f"{shards} (val)"}
    assert (found["threads"], found["device"], found["classes"]) == (3, "cpu", ["bg", "fg"])
    assert {"deterministic_algorithms", "cudnn.benchmark"} <= found["determinism"].keys()
    assert Surroundings.from_json(found) == sweep.surroundings[0]
    assert look_around(sweep, WORKERS) == sweep.surroundings[0], "nothing has changed"


def test_places_that_are_searched_are_compared(begin: Begin, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_two_classes(tmp_path / "raw", other, seed=3)
    sweep = begin(range=(f"data.source={tmp_path / 'shards'},{other}",), searched=("data.source",))
    assert f"{other} (train)" in sweep.surroundings[0].data
    write_two_classes(tmp_path / "raw", other, seed=4)
    with pytest.raises(ValueError, match=r"contents of .*other \(train\) have changed"):
        look_around(sweep, WORKERS)


def test_changed_data_are_refused_or_said_in_every_report(
    begin: Begin, repack: Callable[..., None], tmp_path: Path
) -> None:
    sweep = begin()
    repack({"fg": 255, "bg": 0})
    for resumed in (sweep, accepting(sweep)):
        with pytest.raises(ValueError, match=r"in their order, but they were bg, fg and the data now have fg, bg"):
            look_around(resumed, WORKERS)
    repack(TWO_CLASSES, 1)
    with pytest.raises(ValueError, match=r"contents of .*shards \(train\) and .*shards \(val\) have changed.*--accept"):
        look_around(sweep, WORKERS)
    found = look_around(accepting(sweep), WORKERS)
    assert set(found.accepted) == set(found.data) and "are not of the same data" in found.changes[0]
    sweep.save(found)
    again = Sweep.load(sweep.folder)
    assert look_around(again, WORKERS).changes == (), "it was accepted once"
    for file in write_report(again.folder, images=0):
        assert "scores from before and after are not of the same data" in file.read_text(), file


def test_tables_of_the_paper_say_so_too(begin: Begin, repack: Callable[..., None]) -> None:
    sweep = begin()
    sweep.save(dataclasses.replace(sweep.surroundings[0], changes=("All is new.",)))
    compared: list[Any] = []
    assert write_tables(sweep, compared) == "" and Sweep.load(sweep.folder).changes == ("All is new.",)


def test_a_confirmation_is_on_the_data_of_the_search(begin: Begin, repack: Callable[..., None]) -> None:
    sweep = begin()
    confirmation = confirmation_of(sweep, {"0000": {"contrast.eta": 0.3}}, {"confirm": 1, "seeds": (3, 4)})
    assert look_around(confirmation, WORKERS).data == sweep.surroundings[0].data
    repack(TWO_CLASSES, 1)
    with pytest.raises(ValueError, match="have changed"):
        look_around(confirmation, WORKERS)
    assert look_around(accepting(confirmation), WORKERS).accepted


def test_a_search_is_told_about_trials_of_the_same_data(
    begin: Begin, repack: Callable[..., None], tmp_path: Path
) -> None:
    begin("old")
    for where in (str(tmp_path / "old"), f"sqlite:///{tmp_path / 'old' / 'study.db'}#old"):
        assert look_around(begin(f"like{len(where)}", warm_start=where), WORKERS).changes == ()
    repack(TWO_CLASSES, 1)
    with pytest.raises(ValueError, match="were trained on another source, target and scored split"):
        begin("new", warm_start=str(tmp_path / "old"))
    accepted = begin("newer", warm_start=str(tmp_path / "old"), accept_changed_data=True)
    assert "which were trained on another source" in accepted.changes[0]
    elsewhere = begin("newest", warm_start="sqlite:///of/somebody.db")
    assert elsewhere.changes[0].startswith("It is not known on which data")


def test_versions_device_and_threads_are_compared(begin: Begin) -> None:
    sweep = begin()
    stored = json.loads(sweep.file.read_text())
    stored["runs"][0]["versions"]["torch"] = "1.0"
    stored["runs"][0]["surroundings"]["determinism"]["cudnn.benchmark"] = "True"
    sweep.file.write_text(json.dumps(stored))
    found = look_around(Sweep.load(sweep.folder), dataclasses.replace(WORKERS, cpus=5))
    assert found.threads == 3, "all runs have those that the sweep was begun with"
    environment, threads = found.changes
    assert "(torch 1.0, now " in environment and "cudnn.benchmark True, now False" in environment
    assert threads.startswith("Each worker keeps the 3 threads that the sweep was begun with, although it has 5 CPUs")
    on_gpu = look_around(Sweep.load(sweep.folder), Workers(count=2, cpus=5, gpus=1))
    assert "device cpu, now cuda" in on_gpu.changes[0] and len(on_gpu.changes) == 1


def test_a_sweep_of_an_earlier_version_goes_on(begin: Begin) -> None:
    sweep = begin()
    stored = json.loads(sweep.file.read_text())
    del stored["runs"][0]["surroundings"]
    sweep.file.write_text(json.dumps(stored))
    assert look_around(Sweep.load(sweep.folder), WORKERS).changes == ()


def test_a_trial_does_not_begin_on_other_data_than_its_driver_has_seen(
    begin: Begin, repack: Callable[..., None], tmp_path: Path
) -> None:
    sweep = begin()
    data = sweep.surroundings[0].data
    spec = TrialSpec(label="0000", config=sweep.config, directory=tmp_path / "x", workers=WORKERS, data=data)
    check_data(spec)
    repack(TWO_CLASSES, 1)
    with pytest.raises(ValueError, match=r"contents of .* have changed since the sweep was started"):
        check_data(spec)


def test_the_flag_needs_trials_of_before() -> None:
    with pytest.raises(ValueError, match="--accept-changed-data goes with --resume or --warm-start"):
        SweepOptions.from_given({"accept_changed_data": True})
    assert SweepOptions().resumed({"accept_changed_data": True}).accept_changed_data
