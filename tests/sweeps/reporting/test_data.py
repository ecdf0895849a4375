"""What is read from the folder of a sweep."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

import pgpc
from pgpc.config import parse_settings, to_dict
from pgpc.recipes.recipe import from_preset
from sweeps.common.names import Kind, Status
from sweeps.reporting.data import _reports, read
from sweeps.reporting.study import Importances, StudyData
from sweeps.results.rows import Row, read_parquet, write_parquet
from tests.helpers.reports import COMPLETE, TYPICAL, Make, Write


def test_curves_are_those_of_the_study(typical: Path, with_front: Path) -> None:
    report = read(typical)
    assert report.rungs == [50, 75]
    assert report.curves["0002"] == {25: 9, 50: 15} and report.curves["base"][100] == 30
    assert "0004" not in report.curves, "it has died before its first report"
    assert read(with_front).curves["0002"] == {50: 1.0, 100: 30.0}


def test_roles_of_trials(typical: Path, with_front: Path) -> None:
    report = read(typical)
    assert report.best is not None and report.worst is not None and report.base is not None
    assert (report.best.label, report.worst.label, report.base.label) == ("0001", "0000", "base")
    found = report.difference(report.best)
    assert found is not None and found.spread.mean == pytest.approx(3.456) and found.interval is None
    assert report.difference(report.base) is None
    assert report.front == [] and report.classes == ["road", "car"]
    front = read(with_front)
    assert [trial.label for trial in front.complete] == ["0001", "0002", "0000"]
    assert front.worst is not None and front.worst.label == "0000"
    assert [trial.label for trial in front.front] == ["0001", "0000"]


def test_commands_train_the_same_config_again(typical: Path, write: Write) -> None:
    report = read(typical)
    for row in report.rows:
        words = report.commands[row.label].split()
        assert words[:6] == ["torchrun", "--nproc-per-node", "2", "-m", "pgpc", "train"]
        assert words[6:9] == ["streets", "--out", f"runs/{row.label}"]
        config = from_preset(words[6], parse_settings(words[10::2])).config
        assert set(words[9::2]) == {"--set"}
        assert config == report.config(row) and config.contrast.enabled == (row.kind == "search")
    assert report.best is not None and report.config(report.best.run).contrast.eta == 0.2
    page, _, markdown, _ = write(typical)
    assert all(report.commands[row.label] in text for row in report.rows for text in (page.words, markdown))


def test_commands_of_a_table_are_those_of_its_rows(make: Make) -> None:
    report = read(make([(COMPLETE, {0: [1, 30.0]}, "")] * 5, table=(12,), name="table"))
    assert [report.config(run).contrast.r for run in report.runs if run.paper and run.paper.row == "6"] == [6]
    assert "contrast.r=6" in report.commands["0004"] and "contrast.enabled=false" in report.commands["0000"]


@pytest.mark.parametrize(("alive", "expected"), [(True, "running"), (False, "interrupted")])
def test_what_a_driver_has_left_running_was_interrupted(make: Make, alive: bool, expected: str) -> None:
    folder = make([(TrialState.RUNNING, {0: [9.0]}, "")])
    file = folder / "results.parquet"
    running = [dataclasses.replace(r, status=Status.RUNNING, outcome=Status.RUNNING) for r in read_parquet(file)]
    write_parquet(running, file)
    with (folder / ".lock").open("w") as lock:
        if alive:
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert [row.status for row in read(folder).rows] == [expected]


def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be the folder of a sweep"):
        read(tmp_path)


def test_rows_of_several_tables_are_one_run(make: Make) -> None:
    trials = [(COMPLETE, {0: [1, 30.0 + k]}, "") for k in range(8)]  # 0.5 of Table 11 is 4 of Table 12
    report = read(make(trials, table=(11, 12), name="tables"))
    assert len(report.rows) == 10 and len(report.runs) == 8
    assert report.belongs_to("0000") == "11: 0, 12: without contrast"


def test_a_sweep_without_results_is_read(make: Make) -> None:
    report = read(make())
    assert report.rows == () and report.best is None and report.params == [] and report.curves == {}
    one = read(make(TYPICAL[:1], name="one"))
    assert len(one.params) == 5 and one.best is not None and one.worst is None, "the only one is not the worst, too"


def test_what_a_run_was_trained_with_is_found_where_the_folder_is_now(make: Make) -> None:
    folder = make(TYPICAL[:1])
    config = pgpc.override(read(folder).config(read(folder).runs[0]), {"optimizer.lr": 0.25})
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "config.json").write_text(json.dumps(to_dict(config)))
    moved = read(folder.rename(folder.with_name("moved")))
    assert moved.config(moved.runs[0]) == config and "optimizer.lr=0.25" in moved.commands["0000"]


def test_a_curve_goes_as_far_as_the_first_seed_has_come() -> None:
    """An old study has means over seeds at later iterations."""
    rows = [
        Row(
            label=f"0000-s{seed}",
            trial="0000",
            kind=Kind.SEARCH,
            status=Status.COMPLETE,
            outcome=Status.RUNNING,
            iterations=iterations,
            seed=seed,
        )
        for seed, iterations in ((0, 100), (1, 50))
    ]
    curve = {200: {"mIoU": 3.0}, 50: {"mIoU": 1.0}, 100: {"mIoU": 2.0}}
    study = StudyData(reports={"0000": curve, "0001": curve}, importances=Importances())
    assert _reports(rows, study) == {"0000": {50: {"mIoU": 1.0}, 100: {"mIoU": 2.0}}}
