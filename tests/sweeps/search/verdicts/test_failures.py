"""When a sweep gives up, by hand; then whole sweeps of stubs that fail, and their resumption."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.common.faults import kind
from sweeps.common.names import Event
from sweeps.definition.selection import Selection
from sweeps.search.searcher import Run
from sweeps.search.verdicts.failures import RepeatedFailures

STUB = Path(__file__).parents[2] / "stub_sweep.py"
NAN = "NonFiniteLoss: loss/source became infinite or NaN at iteration 7"


class Bench:
    """Runs that start and end, by their labels."""

    def __init__(self, limit: int = 3, has_ended_well: bool = False) -> None:
        self.failures = RepeatedFailures(limit, has_ended_well=has_ended_well)

    def note(self, event: Event, label: str, error: str = "") -> str:
        none: Any = None
        run = Run(
            label=label,
            trial_label=label,
            seed=0,
            iterations=9,
            study=none,
            trial=none,
            selection=Selection.parse("mIoU"),
            error=error,
        )
        return self.failures.note(event, run)

    def fails(self, label: str, error: str) -> str:
        self.note(Event.STARTED, label)
        return self.note(Event.FAILED, label, error)

    def completes(self, label: str) -> None:
        self.note(Event.STARTED, label)
        assert self.note(Event.COMPLETE, label) == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("IndexError: index 7 is out of bounds", "IndexError: index 12 is out of bounds", True),
        ("IndexError: index 7 is out of bounds", "KeyError: 7", False),
        ("cannot open /data/a/0001/x.pt", "cannot open /data/b/0002/y.pt", True),
        ("FileNotFoundError: s3://bucket/a is gone", "FileNotFoundError: s3://bucket/b is gone", True),
        ("a process was lost (actor 0f3a9c2e11 died)", "a process was lost (actor 91bb02cf7d died)", True),
        ("loss 1.5e-3 at 0x7f00\nlong story", "loss  -2 at 0xa1\nanother one", True),
        ("out of memory", "out of time", False),
    ],
)
def test_kinds(one: str, other: str, same: bool) -> None:
    assert (kind(one) == kind(other)) is same


def test_three_in_a_row_of_one_kind() -> None:
    bench = Bench()
    assert bench.fails("base", "KeyError: 1") == bench.fails("0000", "KeyError: 2") == ""
    assert bench.fails("0001", "KeyError: 3") == "3 runs in a row failed alike (base, 0000, 0001): KeyError: 3"


def test_another_kind_or_a_success_begins_anew() -> None:
    bench = Bench(limit=2)
    assert bench.fails("0000", "KeyError: 1") == bench.fails("0001", "OSError: 1") == ""
    bench.completes("0002")
    assert bench.fails("0003", "OSError: 1") == ""
    assert bench.note(Event.PRUNED, "0004") == ""
    assert bench.fails("0005", "OSError: 1") == ""
    assert bench.note(Event.REPORTED, "0006") == ""
    assert bench.fails("0007", "OSError: 1") != "", "a report is no end"


def test_values_that_do_not_go_together_are_passed_over() -> None:
    bench = Bench(limit=2)
    assert bench.fails("0000", "ValueError: x") == ""
    assert [bench.note(Event.FAILED, f"{k:04d}", "ValueError: x") for k in (1, 2, 3)] == [""] * 3
    assert bench.fails("0004", "ValueError: x") != ""


def test_divergence_counts_until_a_trial_has_ended_well() -> None:
    bench = Bench(limit=2)
    bench.completes("base")
    assert bench.fails("0000", NAN) == "" and bench.fails("0001", NAN) != ""
    bench = Bench(limit=2)
    bench.completes("0000")
    assert [bench.fails(f"{k:04d}", NAN) for k in (1, 2, 3)] == [""] * 3
    assert [Bench(limit=1, has_ended_well=well).fails("0000", NAN) == "" for well in (True, False)] == [True, False]


# Whole sweeps


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


@pytest.fixture(scope="module")
def broken(start: Callable[..., Any], tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sweep of stubs that fail as long as a file is there: it stops, is resumed as it is, and then repaired."""
    storage = tmp_path_factory.mktemp("storage")
    folder, cause = storage / "broken", storage / "cause"
    cause.write_text("no such shard")
    flags = ["--storage", storage, "--concurrency", 1, "--workers", 1]
    first = start("--name", "broken", "--trials", 9, "--scheduler", "none", *flags, *tiny, script=STUB)
    codes = [first.wait()]
    after_first = [trial.state for trial in study(folder).trials]
    cause.unlink()
    second = start("--resume", "broken", *flags, "--trials", 4, "--retry-failed", script=STUB)
    codes.append(second.wait())
    return {"folder": folder, "codes": codes, "outputs": [first.output, second.output], "states": after_first}


@pytest.mark.timeout(900)
def test_a_sweep_whose_runs_fail_alike_stops_with_the_cause(broken: dict[str, Any]) -> None:
    said = broken["outputs"][0]
    assert broken["codes"][0] == 4, said
    assert "because 3 runs in a row failed alike (base, 0000, 0001): OSError: no such shard" in said
    assert re.search(r"^resume  .*--resume broken .*--retry-failed$", said, flags=re.MULTILINE), said
    assert broken["states"][:2] == [TrialState.FAIL] * 2 and len(broken["states"]) <= 3, "before the budget is burnt"


@pytest.mark.timeout(900)
def test_failed_trials_are_trained_again_under_their_numbers(broken: dict[str, Any]) -> None:
    said = broken["outputs"][1]
    assert broken["codes"][1] == 0, said
    assert "Failed before, and trained again: base, 0000 and 0001." in said
    trials = study(broken["folder"]).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert all("error" not in trial.user_attrs for trial in trials)
    configs = [json.loads((broken["folder"] / "trials" / f"{n:04d}" / "config.json").read_text()) for n in range(4)]
    assert [config["contrast"]["eta"] for config in configs] == [trial.params["contrast.eta"] for trial in trials]
