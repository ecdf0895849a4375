"""A sweep from Python: the same as the command, without a command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from sweeps import preparation
from sweeps.common.names import Kind, Status
from sweeps.definition.options import SweepOptions
from tests.sweeps import stub_sweep
from tests.sweeps.conftest import TINY

STUB = {"contrast.start": 1, "contrast.fill": 1, "training.iterations": 4}
"""Changes with which the stub of a training ends after four reports."""


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets trials report without training anything."""
    monkeypatch.setattr("sweeps.execution.tune_run.Slot", stub_sweep.Stub)
    monkeypatch.setattr(preparation, "check_model", lambda *checked, **bands: None)
    monkeypatch.setattr(preparation, "check_data", lambda *checked: [])
    monkeypatch.setattr(preparation, "ForkServer", stub_sweep.NoServer)


def test_importing_sweeps_loads_next_to_nothing() -> None:
    code = "import sys, sweeps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ray", "optuna", "torch", "numpy", "sweeps.driver", "sweeps.definition"} & set(loaded)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_resume_and_read(stub: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = SweepOptions(
        storage=str(tmp_path),
        name="mine",
        trials=1,
        workers=1,
        scheduler="none",
        share_trunk=False,
        set=tuple(f"{key}={value}" for key, value in STUB.items()),
    )
    first = sweeps.run(options)
    assert capsys.readouterr().out == "", "it is quiet"
    assert [(row.label, row.kind, row.status) for row in first.rows] == [
        ("base", Kind.REFERENCE, Status.COMPLETE),
        ("0000", Kind.SEARCH, Status.COMPLETE),
    ]
    assert first.best is not None and (first.best.label, first.best.iterations) == ("0000", 4)
    assert first.folder == tmp_path / "mine" and (first.folder / "report.html").is_file() and not first.is_unfinished

    second = sweeps.run(storage=str(tmp_path), resume="mine", trials=2, quiet=False)
    assert "0001  complete" in capsys.readouterr().out
    assert {trial.label for trial in second.trials if trial.is_complete} == {"base", "0000", "0001"}
    read = sweeps.read(tmp_path / "mine")
    assert read.rows == second.rows and read.sweep.options.trials == 2
    assert len(json.loads((tmp_path / "mine" / "sweep.json").read_text())["runs"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_is_confirmed_with_fresh_seeds(stub: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"storage": str(tmp_path), "workers": 1, "scheduler": "none", "share_trunk": False, "set": STUB}
    sweeps.run(name="mine", trials=1, **common)  # type: ignore[arg-type]  # of several kinds
    report = tmp_path / "mine" / "report.md"
    assert "so that no effect is claimed. Confirm it with fresh seeds" in report.read_text()
    best = sweeps.read(tmp_path / "mine").best
    assert best is not None

    found = sweeps.run(storage=str(tmp_path), resume="mine", confirm=1, seeds=(3, 4), quiet=False)
    assert found.folder == tmp_path / "mine" / "confirmation"
    assert [(row.trial, row.seed, row.status) for row in found.rows] == [
        (label, seed, Status.COMPLETE) for label in ("base", best.trial) for seed in (3, 4)
    ]
    assert found.rows[2].params == best.params and found.rows[0].kind == Kind.REFERENCE
    said = capsys.readouterr().out
    # A stub scores by its parameters alone, and those of the first trial are the base's, but for the contrast.
    assert "No effect was confirmed: the one trial trained anew with the fresh seeds 3 and 4" in said
    assert f"report  {tmp_path}/mine/report.html" in said and "(n=2)" in said
    assert "No effect was confirmed" in report.read_text() and "| fresh seeds |" in report.read_text()
    assert (tmp_path / "mine" / "confirmation.parquet").is_file()
    assert not (found.folder / "report.html").exists() and (tmp_path / "mine" / "best" / "README.md").is_file()
    with pytest.raises(ValueError, match="must keep its --seeds, which was 3,4, but got '6,7'"):
        sweeps.run(storage=str(tmp_path), resume="mine", confirm=1, seeds=(6, 7))
    assert sweeps.run(storage=str(tmp_path), resume="mine", confirm=1, seeds=(3, 4)).rows == found.rows


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"confirm": 3, "seeds": (3, 4)}, "alone. Add --resume NAME."),
        ({"trials": 0}, "--trials must be a whole number of at least 1, but got 0"),
        ({"trails": 3}, "the fields of SweepOptions, but got 'trails'. They are: preset,"),
        ({"preset": "street"}, "Did you mean 'streets'"),
        ({"set": {"contrast.eta": 0}}, "contrast.eta must lie in"),
        ({"options": SweepOptions(), "trials": 3}, "but got both: trials"),
        ({"options": SweepOptions(table=(12,), trials=3)}, "there is no --trials"),
        ({"search": "luck"}, "--search must be one of"),
        ({"time_budget": "soon"}, "--time-budget must be a time such as 900, 30m or 2h, but got 'soon'"),
        ({"log_to": "paper"}, "--log-to must be one of none, mlflow, wandb, but got 'paper'"),
    ],
)
def test_what_cannot_be_is_a_value_error(given: dict[str, object], message: str, tmp_path: Path) -> None:
    if "options" not in given:
        given["storage"] = str(tmp_path)
    with pytest.raises(ValueError, match=message):
        sweeps.run(**given)  # type: ignore[arg-type]  # of several kinds
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_none_of_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sweep.json"):
        sweeps.read(tmp_path)


def test_ray_that_runs_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(ValueError, match="Ray must not be running in this process, .* Call ray.shutdown"):
        sweeps.run(trials=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_real_training_from_python(tmp_path: Path) -> None:
    results = sweeps.run(
        storage=str(tmp_path), name="real", trials=1, workers=1, set={**TINY, "training.iterations": 6}
    )
    assert [(row.label, row.status, row.iterations) for row in results.rows] == [
        ("base", Status.COMPLETE, 6),
        ("0000", Status.COMPLETE, 6),
    ]
    assert results.best is not None and (results.folder / "best" / "checkpoint.pt").is_file()
