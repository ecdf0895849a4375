"""What the options of a sweep take, what they refuse, and what becomes of them when it is resumed."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import pytest

from pgpc.config import UnknownKey
from sweeps.definition.options import DEFAULTS, LOCAL, SweepOptions

KEYS = [
    "preset",
    "config",
    "set",
    "seed",
    "seeds",
    "table",
    "bases",
    "encoders",
    "report_split",
    "objectives",
    "select_by",
    "trials",
    "time_budget",
    "search",
    "scheduler",
    "brackets",
    "first_rung",
    "reduction_factor",
    "population",
    "space",
    "range",
    "enqueue",
    "warm_start",
    "warm_up",
    "workers",
    "cpus_per_worker",
    "gpus_per_worker",
    "concurrency",
    "max_failures",
    "keep",
    "address",
    "storage",
    "name",
    "resume",
    "retry_failed",
    "accept_changed_data",
    "confirm",
    "log_to",
    "json",
]
"""Keys of the flags in a sweep.json, which older versions have written and newer ones read."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "--trials must be a whole number of at least 1, but got 0."),
        ({"workers": 1.5}, "--workers must be a whole number"),
        ({"workers": 0}, "--workers must be a whole number"),
        ({"seed": -1}, "--seed must be a whole number of at least 0"),
        ({"seeds": (1, 1)}, "--seeds must be different seeds"),
        ({"seeds": ()}, "--seeds must be different seeds"),
        ({"time_budget": 0}, "--time-budget must be a time such as 900"),
        ({"gpus_per_worker": 1.5}, "--gpus-per-worker must be a whole number, or a share below 1 of at most "),
        ({"gpus_per_worker": 0.33333}, "four digits, such as 0.3333, but got 0.33333."),
        ({"keep": "some"}, "--keep must be one of all, complete, best, none, but got 'some'."),
        ({"table": (13,)}, "--table must be all, or numbers of the paper's tables, 1 to 12, but got [13]."),
        ({"table": (1,), "bases": ("unet",)}, "--bases must be of proca, "),
        ({"bases": ("hrda",)}, "--bases chooses rows of Tables 1 to 5, but got 'no --table'. Add --table"),
        ({"table": (12,), "bases": ("hrda",)}, "but got '--table 12'"),
        ({"report_split": 1.0}, "--report-split must be a share between 0 and 1, but got 1.0."),
        ({"confirm": 0}, "--confirm must be a whole number of at least 1, but got 0."),
        ({"objectives": ("speed",)}, "--objectives must be different ones of mIoU, seconds, gpu_memory"),
        ({"objectives": ("seconds",)}, "--objectives must hold mIoU"),
        ({"objectives": "mIoU"}, "--objectives must be different ones of"),
        ({"reduction_factor": 1}, "--reduction-factor must be a whole number of at least 2, but got 1."),
        ({"first_rung": 0}, "--first-rung must be a whole number of at least 1, but got 0."),
        ({"name": ""}, "--name must be a text that is not empty, but got ''."),
        ({"space": " "}, "--space must be a text that is not empty"),
        ({"warm_start": ""}, "--warm-start must be a text that is not empty"),
        ({"address": ""}, "--address must be a text that is not empty"),
        ({"preset": 3}, "--preset must be a text"),
        ({"set": "contrast.r=3"}, "--set must be texts"),
        ({"share_trunk": 1}, "--share-trunk must be true or false, but got 1."),
        ({"gpus_per_worker": float("inf")}, "--gpus-per-worker must be a whole number"),
        ({"storage": "s3://bucket/results"}, "--storage must be the path of a folder that all nodes see, but got 's3:"),
        ({"storage": "gs://bucket"}, "Name a folder on one; cluster/gpu.yaml has such a folder on the head, and keeps"),
        ({"max_failures": 0}, "--max-failures must be a whole number of at least 1, but got 0."),
    ],
)
def test_values_that_keep_no_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SweepOptions(**options)


def test_options_are_frozen_and_given_by_name() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.trials = 4  # type: ignore[misc]  # that it is refused is the point
    with pytest.raises(TypeError):
        SweepOptions("streets")  # type: ignore[misc]  # that it is refused is the point
    assert SweepOptions(seeds=[1, 2]).seeds == (1, 2)  # type: ignore[arg-type]  # as JSON has it


def test_every_option_is_documented() -> None:
    source = inspect.getsource(SweepOptions)
    for field in dataclasses.fields(SweepOptions):
        assert re.search(rf'^    {field.name}: [^=]* = _option\(.*\)\n    """[A-Z`].*\."""$', source, re.MULTILINE), (
            field.name
        )


def test_json_is_that_of_earlier_versions() -> None:
    assert list(DEFAULTS.to_json()) == KEYS
    options = SweepOptions(share_trunk=False, seeds=(1, 2), set=("contrast.r=3",))
    plain = options.to_json()
    assert (plain["warm_up"], plain["seeds"], plain["set"], plain["objectives"]) == (
        False,
        [1, 2],
        ["contrast.r=3"],
        ["mIoU"],
    )
    assert SweepOptions.from_json(plain) == options
    old = {key: value for key, value in plain.items() if key not in ("brackets", "population", "json")}
    assert SweepOptions.from_json({**old, "of a later version": None}) == options, "it is not used"
    with pytest.raises(UnknownKey, match="Unknown option 'of a later version'"):
        SweepOptions.from_json({**old, "of a later version": 1})


IDENTITY = {
    "preset": "dark",
    "config": "mine.json",
    "set": ("a=1",),
    "seed": 3,
    "seeds": (3, 4),
    "table": (12,),
    "bases": ("hrda",),
    "encoders": ("test_vit",),
    "report_split": 0.5,
    "confirm": 3,
    "objectives": ("mIoU", "seconds"),
    "select_by": "rank:snd,bnm",
    "search": "gp",
    "scheduler": "median",
    "brackets": 2,
    "first_rung": 40,
    "reduction_factor": 3,
    "population": 3,
    "space": "file",
    "range": ("a=1:2",),
    "workers": 4,
}
"""What makes a sweep what it is, each with a value that is not the default."""


@pytest.mark.parametrize("name", IDENTITY)
def test_a_resumed_sweep_keeps_what_identifies_it(name: str) -> None:
    with pytest.raises(ValueError, match=f"A resumed sweep keeps its --{name.replace('_', '-')}, which was"):
        DEFAULTS.resumed({name: IDENTITY[name]})
    assert DEFAULTS.resumed({name: getattr(DEFAULTS, name)}) == DEFAULTS


def test_a_resumed_sweep_keeps_it_also_where_a_program_gives_none() -> None:
    with pytest.raises(ValueError, match="keeps its --report-split, which was 0.5, but got None"):
        SweepOptions(report_split=0.5).resumed({"report_split": None})


def test_other_options_may_be_given_anew_or_hold_for_one_driver() -> None:
    first = SweepOptions(trials=9, concurrency=2, time_budget=60.0, enqueue=("a=1",), warm_start="x", json=True)
    second = first.resumed({"trials": 12, "resume": "first"})
    assert second == SweepOptions(trials=12, concurrency=2)
    assert first.resumed({"time_budget": 5.0}).time_budget == 5.0
    without = first.resumed({"share_trunk": False})
    assert not without.resumed({}).share_trunk, "it holds for the drivers that follow"
    assert without.resumed({"share_trunk": True}).share_trunk, "and can be undone"
    identity = {f.name for f in dataclasses.fields(SweepOptions) if f.metadata["identifies"]}
    assert identity == set(IDENTITY)


@pytest.mark.parametrize("name", ["trials", "search", "scheduler", "enqueue", "warm_start", "objectives"])
def test_a_table_is_no_search_whatever_the_value(name: str) -> None:
    given = {name: getattr(DEFAULTS, name)}
    with pytest.raises(ValueError, match=f"there is no --{name.replace('_', '-')}"):
        SweepOptions.from_given({"table": (12,), **given})
    with pytest.raises(ValueError, match="there is no --"):
        SweepOptions(table=(12,)).resumed({"trials": 9})


def test_one_seed_or_several() -> None:
    with pytest.raises(ValueError, match="--seeds \\[0, 1\\] and --seed 1 exclude each other"):
        SweepOptions.from_given({"seed": 1, "seeds": (0, 1)})


def test_failed_trials_are_those_of_a_sweep_that_is_resumed() -> None:
    with pytest.raises(ValueError, match="--retry-failed goes with --resume, .* Add --resume, or leave it out"):
        SweepOptions.from_given({"retry_failed": True})
    assert DEFAULTS.resumed({"retry_failed": True}).retry_failed
    assert not SweepOptions(retry_failed=True).resumed({}).retry_failed


def test_given_is_what_is_not_the_default() -> None:
    assert DEFAULTS.given() == {}
    assert SweepOptions(trials=5, share_trunk=False).given() == {"trials": 5, "share_trunk": False}


def test_a_confirmation_is_of_a_sweep_that_is_there() -> None:
    with pytest.raises(ValueError, match="but got --confirm 3 alone. Add --resume NAME."):
        SweepOptions.from_given({"confirm": 3, "seeds": (3, 4)})


def test_changes_are_those_that_are_set_and_the_share_to_report_on() -> None:
    assert SweepOptions(set=("contrast.r=3",)).changes == {"contrast.r": "3"}
    found = SweepOptions(set=("contrast.r=3",), report_split=0.5).changes
    assert found == {"contrast.r": "3", "evaluation.report_share": 0.5}


def test_a_cluster_is_joined_only_where_the_user_names_it() -> None:
    """The folder of a sweep may come from somebody else, and name a machine of theirs."""
    of_theirs = SweepOptions(address="192.0.2.9:6379")
    for given in ({}, {"trials": 9}, {"address": None}):
        with pytest.raises(
            ValueError, match=r"--address must be given again .* Add --address 192.0.2.9:6379, .* local"
        ):
            of_theirs.resumed(given)
    assert of_theirs.resumed({"address": "10.0.0.1:6379"}).cluster == "10.0.0.1:6379"
    here = of_theirs.resumed({"address": LOCAL})
    assert here.cluster is None and here.resumed({}).cluster is None
