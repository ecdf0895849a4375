"""Rows of a study made by hand, and of files that this and earlier versions have written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState, create_trial

from sweeps.common.names import Kind, Status
from sweeps.results.forks import TrunkFork
from sweeps.results.rows import (
    LEADING,
    PaperRow,
    Parent,
    Row,
    collect,
    last_checkpoint,
    read_parquet,
    write_parquet,
)

FULL = Row(
    label="0003-s1",
    trial="0003",
    kind=Kind.SEARCH,
    status=Status.COMPLETE,
    outcome=Status.PRUNED,
    score=31.5,
    iterations=100,
    seconds=12.5,
    seed=1,
    directory=Path("/results/a/trials/0003-s1"),
    error="",
    pareto=False,
    trunk=TrunkFork(trunk="064e", iterations=20, seconds=2.5),
    parent=Parent(label="0001", iteration=50, seconds=6.25),
    params={"contrast.r": 4, "contrast.eta": 0.5, "contrast.family": "hybrid"},
    metrics={"mIoU16": 33.0, "IoU/road": 50.0, "loss/source": 0.25, "learning_rate": 6e-5},
)
COLUMNS = {
    "trial": "0003-s1",
    "kind": "search",
    "status": "complete",
    "mIoU": 31.5,
    "iterations": 100,
    "seconds": 12.5,
    "seed": 1,
    "directory": "/results/a/trials/0003-s1",
    "error": "",
    "point": "0003",
    "outcome": "pruned",
    "pareto": False,
    "warm_up": "064e",
    "warm_up_iterations": 20,
    "warm_up_seconds": 2.5,
    "parent": "0001",
    "parent_iteration": 50,
    "parent_seconds": 6.25,
    "contrast.r": 4,
    "contrast.eta": 0.5,
    "contrast.family": "hybrid",
    "mIoU16": 33.0,
    "IoU/road": 50.0,
    "loss/source": 0.25,
    "learning_rate": 6e-5,
}
"""As the first version with all of these columns has written the row, in its order."""
OF_TABLE = dataclasses.replace(
    FULL,
    parent=None,
    trunk=None,
    params={"contrast.enabled": False},
    metrics={"mIoU16": 33.0, "inference_images_per_second": 8.0},
    paper=PaperRow(table=5, row="DAFormer"),
)


def test_rows(rows: list[Row], tmp_path: Path) -> None:
    assert [r.label for r in rows] == ["base", "0000", "0001", "0002", "0003", "0004"]
    assert [r.status for r in rows] == ["complete", "complete", "pruned", "complete", "failed", "interrupted"]
    assert rows[4].error == "loss/source became NaN" and rows[4].score is None
    assert rows[1].directory == tmp_path / "trials" / "0000" and rows[1].seed == 3
    assert rows[0].kind == Kind.REFERENCE and rows[1].kind == Kind.SEARCH
    assert rows[1].params == {"contrast.eta": 0.5} and rows[1].metrics == {"IoU/road": 50.0}


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.parametrize(("alive", "expected"), [(True, "running"), (False, "interrupted")])
def test_what_has_not_ended_runs_as_long_as_its_driver(
    seeds: list[int], alive: bool, expected: str, tmp_path: Path
) -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"status": "running", "status-s0": "running"}))
    rows = collect(study, None, results=tmp_path, seeds=seeds, alive=alive)
    assert [(row.status, row.outcome) for row in rows] == [(expected, expected)]
    assert [row.interrupted().outcome for row in rows] == ["interrupted"]


def test_what_has_ended_is_not_interrupted() -> None:
    assert FULL.interrupted() == FULL
    half = dataclasses.replace(FULL, status=Status.COMPLETE, outcome=Status.RUNNING)
    assert half.interrupted() == dataclasses.replace(half, outcome=Status.INTERRUPTED)


def test_with_seeds_every_run_has_a_row(seeded: list[Row], tmp_path: Path) -> None:
    assert [(r.label, r.trial, r.seed, r.status, r.outcome) for r in seeded] == [
        ("base-s0", "base", 0, "complete", "complete"),
        ("base-s5", "base", 5, "complete", "complete"),
        ("0000-s0", "0000", 0, "complete", "complete"),
        ("0000-s5", "0000", 5, "complete", "complete"),
        ("0001-s0", "0001", 0, "complete", "pruned"),
        ("0002-s0", "0002", 0, "complete", "failed"),
        ("0002-s5", "0002", 5, "failed", "failed"),
    ]
    assert seeded[3].directory == tmp_path / "trials" / "0000-s5"


def test_front_is_known_of_several_objectives_alone(rows: list[Row], two_objectives: list[Row]) -> None:
    assert {row.pareto for row in rows} == {None}
    assert [row.pareto for row in two_objectives] == [False, False, True, True, False, False, True, True]


def test_a_child_knows_its_parent(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    attrs = {"parent": "0001", "parent_iteration": 50, "parent_seconds": 6.25}
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attrs))
    study.add_trial(create_trial(state=TrialState.RUNNING))
    child, other = collect(study, None, results=tmp_path, seeds=[0])
    assert child.parent == Parent(label="0001", iteration=50, seconds=6.25) and str(child.parent) == "0001 from 50"
    assert other.parent is None


def test_columns_have_the_names_and_the_order_of_earlier_versions() -> None:
    assert list(FULL.to_columns().items()) == list(COLUMNS.items())
    assert Row.from_columns(COLUMNS) == FULL


def test_columns_of_a_table_have_the_order_of_earlier_versions() -> None:
    names = list(OF_TABLE.to_columns())
    assert names[: len(LEADING)] == list(LEADING)
    assert names[len(LEADING) :] == [
        *("warm_up", "warm_up_iterations", "warm_up_seconds"),
        *("row", "mIoU16", "table", "contrast.enabled", "inference_images_per_second"),
    ]
    assert OF_TABLE.to_columns()["warm_up"] == "" and OF_TABLE.to_columns()["warm_up_seconds"] == 0.0


@pytest.mark.parametrize("row", [FULL, OF_TABLE, dataclasses.replace(FULL, score=None, seconds=None, pareto=None)])
def test_rows_survive_a_file(row: Row, rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    for _ in range(2):
        write_parquet([*rows, row], path)
    assert read_parquet(path) == [*rows, row]
    assert [p.name for p in tmp_path.iterdir()] == ["results.parquet"]


def test_file_has_a_column_for_all_that_any_row_has(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    write_parquet([*rows, FULL], path)
    table = pq.read_table(path)
    assert table.schema.names == [
        *LEADING,
        *("warm_up", "warm_up_iterations", "warm_up_seconds"),
        *("contrast.eta", "IoU/road"),  # of the first rows, which have no others
        *("parent", "parent_iteration", "parent_seconds"),
        *("contrast.r", "contrast.family", "mIoU16", "loss/source", "learning_rate"),
    ]
    back = table.to_pylist()
    assert [r["mIoU"] for r in back] == [31.0, 30.0, 35.0, 33.0, None, 1.0, 31.5]
    assert back[0]["contrast.eta"] is None and back[1]["IoU/road"] == 50.0


OLD: dict[str, Any] = {key: COLUMNS[key] for key in LEADING[:9]} | {"status": "failed", "IoU/road": 50.0}
"""Before trials had several seeds, and before there were trunks, children or several objectives."""


def test_file_of_an_old_version(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    rows = [OLD | {"contrast.eta": 0.5}, OLD | {"trial": "base", "kind": "reference", "status": "running"}]
    pq.write_table(pa.table({key: [row.get(key) for row in rows] for key in rows[0]}), path)
    first, second = read_parquet(path)
    assert (first.trial, first.outcome) == ("0003-s1", "failed") and first.params == {"contrast.eta": 0.5}
    assert first.pareto is first.trunk is first.parent is first.paper is None
    assert (second.kind, second.outcome, dict(second.params)) == (Kind.REFERENCE, "running", {})
    assert second.metrics == {"IoU/road": 50.0}


@pytest.mark.parametrize("name", ["trial", "status", "mIoU", "directory"])
def test_a_file_of_something_else_is_refused(name: str) -> None:
    columns = {key: value for key, value in OLD.items() if key != name}
    with pytest.raises(ValueError, match=f"must have the column '{name}'"):
        Row.from_columns(columns)


def test_metrics_by_name() -> None:
    names = ("mIoU", "seconds", "mIoU16", "gpu_memory")
    assert [FULL.metric(name) for name in names] == [31.5, 12.5, 33.0, None]


def test_last_checkpoint_is_the_newest(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for name in ("checkpoint_2026-01-01_10-00-00.5", "checkpoint_2026-01-01_09-00-00.5"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint.pt").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint_2026-01-01_10-00-00.5" / "checkpoint.pt"


def test_keys_without_a_dot_are_parameters_too(tmp_path: Path) -> None:
    """As `--range base=self_training,proca` searches them."""
    row = Row(
        label="0000",
        trial="0000",
        kind=Kind.SEARCH,
        status=Status.COMPLETE,
        outcome=Status.COMPLETE,
        params={"base": "proca", "contrast.r": 3},
        metrics={"mIoU16": 1.0, "IoU/traffic.light": 2.0},
    )
    write_parquet([row], tmp_path / "results.parquet")
    (again,) = read_parquet(tmp_path / "results.parquet")
    assert (again.params, again.metrics) == (
        {"base": "proca", "contrast.r": 3},
        {"mIoU16": 1.0, "IoU/traffic.light": 2.0},
    )
