"""The flags, as options; what each of them refuses is said by the parser, and the help comes from the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from sweeps import report, run_ablation
from sweeps.command_line import build_parser, parse
from sweeps.definition.objectives import OBJECTIVES
from sweeps.definition.options import SweepOptions
from sweeps.definition.paper_tables import ABLATIONS, BASES
from sweeps.search.samplers import SAMPLERS
from sweeps.search.schedulers import SCHEDULERS


def test_every_flag_is_an_option_and_every_option_has_a_flag() -> None:
    flags = {action.dest for action in build_parser()._actions} - {"help"}
    assert flags == {field.name for field in dataclasses.fields(SweepOptions)}


@pytest.mark.parametrize("main", [run_ablation.main, report.main])
@pytest.mark.parametrize("arguments", [["--name", ""], ["--name="], ["results/a", "--select-by", ""]])
def test_empty_arguments_are_refused(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything else is looked at, as are flags that the other command has."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "error: Arguments must not be empty, but got '' after --" in capsys.readouterr().err


def test_flags_that_are_not_given_are_absent() -> None:
    assert parse([]) == {}
    given = parse(
        ["--seeds", "0, 2", "--table", "12,9,12", "--objectives", "mIoU,seconds", "--no-warm-up", "--resume", "--json"]
    )
    assert given == {
        "seeds": (0, 2),
        "table": (9, 12),
        "objectives": ("mIoU", "seconds"),
        "share_trunk": False,
        "resume": "",
        "json": True,
    }
    assert parse(["--table", "all"]) == {"table": ABLATIONS}
    assert parse(["--warm-up"]) == {"share_trunk": True}, "a resumed sweep can be given back what --no-warm-up took"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trials", "0"],
        ["--trials", "many"],
        ["--time-budget", "soon"],
        ["--time-budget", "0"],
        ["--search", "luck"],
        ["--scheduler", "luck"],
        ["--objectives", "speed"],
        ["--gpus-per-worker", "1.5"],
        ["--gpus-per-worker", "0.33333"],
        ["--gpus-per-worker", "0.00001"],
        ["--gpus-per-worker", "nan"],
        ["--gpus-per-worker", "inf"],
        ["--keep", "some"],
        ["--table", "13"],
        ["--table", "x"],
        ["--seeds", "0,0"],
        ["--bases", "unet"],
        ["--log-to", "paper"],
    ],
)
def test_bad_flags_are_refused_by_the_parser(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_ablation.main(arguments)
    assert stop.value.code == 2 and f"argument {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--name", ""], ["--resume="], ["--storage", ""], ["--space", ""]])
def test_an_empty_variable_is_no_default(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_ablation.main(arguments)
    assert stop.value.code == 2 and f"after {arguments[0].strip('=')}" in capsys.readouterr().err


def test_the_help_has_every_entry_of_the_tables() -> None:
    text = " ".join(build_parser().format_help().split())
    for entries in (SAMPLERS, SCHEDULERS, OBJECTIVES):
        for entry in entries.values():
            assert f"{entry.name}: {entry.help}" in text
    assert ", ".join(BASES) in text.replace("- ", "-")
