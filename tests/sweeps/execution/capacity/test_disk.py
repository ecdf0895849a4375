"""What a sweep says of the disk before it begins."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.execution.capacity import disk
from sweeps.execution.capacity.disk import DiskNeed, describe_need

GB = 10**9
Usage = namedtuple("Usage", "total used free")


def sweep(storage: Path, **options: Any) -> Sweep:
    return new_sweep(SweepOptions(storage=str(storage), name="a", **options))


def test_every_trial_and_the_base_count_once_per_seed(tmp_path: Path) -> None:
    need = DiskNeed.of(sweep(tmp_path, trials=40, share_trunk=False), GB, 4)
    assert (need.kept, need.passing, need.total, need.least) == (41, 5, 46 * GB, 2 * GB)
    need = DiskNeed.of(sweep(tmp_path, trials=40, seeds=(0, 1, 2)), GB, 4)
    assert (need.kept, need.passing) == (123, 8), "a trunk per seed, too"
    need = DiskNeed.of(sweep(tmp_path, table=(12,), share_trunk=False), GB, 2)
    assert need.kept == sweep(tmp_path, table=(12,)).num_trials and need.passing == 2, "no best/, no base"


def test_a_population_keeps_its_members(tmp_path: Path) -> None:
    options = {"trials": 12, "population": 4, "scheduler": "pbt", "share_trunk": False}
    assert DiskNeed.of(sweep(tmp_path, **options), GB, 1).kept == 5
    assert DiskNeed.of(sweep(tmp_path, keep="all", **options), GB, 1).kept == 13


def test_what_is_there_needs_no_room(tmp_path: Path) -> None:
    begun = sweep(tmp_path, trials=3, share_trunk=False)
    for label in ("base", "0000"):
        (begun.trials_folder / label / "checkpoint_1").mkdir(parents=True)
        (begun.trials_folder / label / "checkpoint_1" / "checkpoint.pt").touch()
    assert DiskNeed.of(begun, GB, 1).total == 4 * GB
    whole = DiskNeed(size=GB, kept=4, passing=2, there=4)
    assert (whole.total, whole.least) == (2 * GB, 0), "a sweep that is over can still be resumed, to keep less"


def test_it_is_compared_with_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sweep(tmp_path, trials=40, share_trunk=False, keep="all")
    need = DiskNeed.of(found, int(1.36 * GB), 4)
    free = 200 * GB
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(0, 0, free))
    assert describe_need(need, found) == "up to 62.6 GB, for 46 checkpoints of 1.4 GB; 200.0 GB are free"
    free = 50 * GB
    said = describe_need(need, found)
    assert said.startswith("up to 62.6 GB, for 46 checkpoints of 1.4 GB; 50.0 GB are free, which may not be enough.")
    assert said.endswith("or use --keep complete, fewer --trials, another --storage")
    complete = dataclasses.replace(found, options=dataclasses.replace(found.options, keep="complete"))
    assert "--keep" not in describe_need(need, complete)
    free = 2 * GB
    with pytest.raises(ValueError, match=r"room for a checkpoint and the next one, 2.7 GB, but 2.0 GB are free. Free"):
        describe_need(need, found)
