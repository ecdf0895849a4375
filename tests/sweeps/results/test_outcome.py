"""What a program reads from the folder of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pandas
import pytest

import sweeps
from sweeps.common.names import Status
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, write_parquet
from sweeps.search.study import open_studies


@pytest.fixture
def folder(rows: list[Row], tmp_path: Path) -> Path:
    """The folder of a sweep with a reference, and trials 0000 to 0004 of which 0002 is the best."""
    sweep = new_sweep(SweepOptions(storage=str(tmp_path), name="first"))
    sweep.folder.mkdir()
    sweep.save()
    write_parquet(rows, sweep.folder / "results.parquet")
    return sweep.folder


def test_a_line_for_each_run_with_the_columns_of_the_file(folder: Path, rows: list[Row]) -> None:
    frame = sweeps.read(folder).to_pandas()
    assert list(frame.columns) == list(pandas.read_parquet(folder / "results.parquet").columns)
    assert list(frame["trial"]) == [row.label for row in rows]
    assert frame.set_index("trial").loc["0002", ["mIoU", "contrast.eta", "IoU/road"]].tolist() == [33.0, 0.5, 50.0]


def test_the_best_and_any_other_trial(folder: Path) -> None:
    results = sweeps.read(folder)
    assert results.best is not None and results.best.label == "0002"
    assert (results.trial("0002").score, results.trial("base").score) == (33.0, 31.0)
    failed = results.trial("0003")
    assert failed.status == Status.FAILED and failed.error == "loss/source became NaN"


@pytest.mark.parametrize("label", ["3", "0009", 2])
def test_a_label_that_no_trial_has(folder: Path, label: object) -> None:
    with pytest.raises(ValueError) as error:
        sweeps.read(folder).trial(label)  # type: ignore[arg-type]
    there = "0000, 0001, 0002, 0003, 0004, base"
    assert str(error.value) == f"The sweep first has no trial {label!r}; its trials are: {there}."


def test_a_sweep_that_has_only_begun(folder: Path) -> None:
    (folder / "results.parquet").unlink()
    results = sweeps.read(folder)
    assert results.best is None and len(results.to_pandas()) == 0 and "mIoU" in results.to_pandas().columns
    with pytest.raises(ValueError, match="its trials are: none yet"):
        results.trial("0000")


def test_the_study(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"keeps its Optuna study in study.db, but .* has none"):
        _ = sweeps.read(folder).study
    assert not (folder / "study.db").exists(), "looking for it makes none"
    sampler, pruner = optuna.samplers.RandomSampler(seed=0), optuna.pruners.NopPruner()
    study, _ = open_studies(
        folder,
        "named before the folder was",
        sampler,
        pruner,
        objectives=["mIoU"],
        reference=True,
        origin="x",
    )
    study.tell(study.ask(), 31.5)
    before = (folder / "study.db").read_bytes()
    read = sweeps.read(folder).study
    assert (read.study_name, read.best_value, len(read.trials)) == ("named before the folder was", 31.5, 1)
    assert (folder / "study.db").read_bytes() == before, "reading writes nothing"


def test_labels_of_seeds_are_no_trials(folder: Path, seeded: list[Row]) -> None:
    results = replace(Results.read(folder), rows=tuple(seeded))
    assert len(results.to_pandas()) == len(seeded)
    with pytest.raises(ValueError, match="no trial '0000-s"):
        results.trial("0000-s0")
