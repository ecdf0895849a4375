"""The end of a sweep: what it writes, says and answers, without a training."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from sweeps import finalize
from sweeps.common.names import Kind, Status
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.progress.plain import Terminal
from sweeps.results.rows import PaperRow, Row, read_parquet


def make_sweep(storage: Path, **options: Any) -> Sweep:
    sweep = new_sweep(SweepOptions(storage=str(storage), name="a", **options))
    sweep.trials_folder.mkdir(parents=True)
    sweep.save()
    return sweep


def run(sweep: Sweep, label: str, status: Status, score: float | None, **others: Any) -> Row:
    return Row(
        label=label,
        trial=label,
        kind=Kind.REFERENCE if label == "base" else Kind.SEARCH,
        status=status,
        outcome=status,
        score=score,
        iterations=100,
        seconds=10.0,
        directory=sweep.trials_folder / label,
        **others,
    )


def with_checkpoint(row: Row) -> Row:
    folder = row.directory / "checkpoint_1"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_text(row.label)
    (row.directory / "config.json").write_text("{}")
    return row


def finish(sweep: Sweep, rows: list[Row], signals: list[int] | None = None) -> tuple[int, str, str]:
    """The exit code, what is said, and what is answered."""
    out, answer = io.StringIO(), io.StringIO()
    code = finalize.finish(sweep, rows, signals or [], Terminal(out, sweep.seeds), answer)
    return code, out.getvalue(), answer.getvalue()


def test_a_search_ends_with_its_table_and_where_everything_is(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, trials=2, json=True)
    rows = [
        run(sweep, "base", Status.COMPLETE, 30.0),
        with_checkpoint(run(sweep, "0000", Status.COMPLETE, 31.0, params={"contrast.eta": 0.5})),
        run(sweep, "0001", Status.FAILED, float("nan"), error="mIoU is not a number"),
    ]
    code, said, answer = finish(sweep, rows)
    assert code == 0 and (sweep.folder / "best" / "checkpoint.pt").read_text() == "0000"
    assert read_parquet(sweep.folder / "results.parquet")[:2] == rows[:2]
    lines = said.splitlines()
    assert "   1  0000   complete  31.00" in said and "0001 failed: mIoU is not a number" in lines
    assert f"report  {sweep.folder}/report.html" in lines and f"best    {sweep.folder}/best/checkpoint.pt" in lines
    assert not any(line.startswith(("tables", "resume")) for line in lines)
    assert any(line.startswith("The sweep trained 300 iterations (1:00 of worker-time") for line in lines)
    assert "best/ is trial 0000, of the highest mIoU, 31.00 %, trained with seed 0." in lines
    assert any(line.startswith("1 trial, 1 seed: 0000 has the highest mIoU, 31.00 %. One trial may ") for line in lines)
    assert not re.search(r"\bbetter\b", said)
    document = json.loads(answer)
    assert document["claims"] == [] and document["result"] in lines
    assert list(document) == [
        "sweep",
        "select_by",
        "result",
        "claims",
        "changes",
        "best",
        "pareto",
        "rows",
        "tables",
        "cost",
        "places",
    ]
    assert document["best"]["trial"] == "0000" and document["best"]["contrast.eta"] == 0.5
    assert document["rows"][2]["mIoU"] is None and document["rows"][0]["warm_up"] == ""
    assert document["pareto"] is None and document["places"]["rows"] == f"{sweep.folder}/results.parquet"


def test_a_sweep_that_was_stopped_says_how_to_resume(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, trials=2)
    rows = [run(sweep, "base", Status.COMPLETE, 30.0), run(sweep, "0000", Status.INTERRUPTED, 10.0)]
    code, said, answer = finish(sweep, rows, [signal.SIGINT])
    assert code == 130 and answer == "" and not (sweep.folder / "best").exists()
    assert f"resume  {sweep.resume_command}" in said.splitlines()


def test_what_takes_long_is_left_to_the_end_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep whose time is up has no more of it for a criterion that takes all its networks."""
    sweep = make_sweep(tmp_path, trials=3)
    rows = [with_checkpoint(run(sweep, f"{i:04d}", Status.COMPLETE, 30.0 + i)) for i in range(2)]
    said = finish(sweep, [*rows, run(sweep, "0002", Status.INTERRUPTED, 10.0)])[1]
    assert "could not be computed" not in said
    assert (
        "the criterion ensemble is computed when all trials have ended; before that, by: python sweeps/report.py "
        + (f"{sweep.folder} --select-by ensemble\n")
        in said
    )
    assert "the criterion ensemble" not in finish(sweep, [rows[0]])[1], "one trial is no ensemble"
    said = finish(sweep, [*rows, run(sweep, "0002", Status.PRUNED, 10.0)])[1]
    assert "the criterion ensemble could not be computed" in said, "it is tried, with networks that are none"

    table, asked = make_sweep(tmp_path / "table", table=(5,)), list[Path]()
    monkeypatch.setattr(finalize, "inference_rate", lambda checkpoint: asked.append(checkpoint) or 8.0)
    of_table = with_checkpoint(run(table, "0000", Status.COMPLETE, 30.0, paper=PaperRow(table=5, row="DAFormer")))
    finish(table, [of_table, run(table, "0001", Status.INTERRUPTED, 1.0)])
    assert asked == []


def test_a_sweep_that_failed_altogether_has_another_exit_code(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, trials=1)
    rows = [run(sweep, "base", Status.COMPLETE, 30.0), run(sweep, "0000", Status.FAILED, None, error="no")]
    assert finish(sweep, rows)[0] == 1
    assert finish(sweep, [*rows, run(sweep, "0001", Status.PRUNED, 1.0)])[0] == 0


def test_a_best_run_without_a_checkpoint_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = make_sweep(tmp_path, trials=1)
    code, said, _ = finish(sweep, [run(sweep, "0000", Status.COMPLETE, 30.0)])
    assert code == 0 and "best    " not in said and "has no checkpoint" in capsys.readouterr().err


def test_tables_are_written_beside_the_paper(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, table=(11, 12))
    scores = {"without contrast": 30.0, "3": 31.0, "4": 29.5}
    rows = [
        run(sweep, f"{i:04d}", Status.COMPLETE, score, paper=PaperRow(table=12, row=label))
        for i, (label, score) in enumerate(scores.items())
    ]
    _, said, _ = finish(sweep, rows)
    assert (sweep.folder / "table-12.md").read_text().splitlines()[:6] == [
        "## Table 12. Rank r from which on a target pixel is a negative",
        "",
        "| row | mIoU | - base | paper | paper - base | ours - paper |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| without contrast | 30.00 | - | 68.30 | - | -38.30 |",
        "| 3 | 31.00 | +1.00 (n=1) | 69.70 | +1.40 | -38.70 |",
    ]
    assert (sweep.folder / "table-11.md").read_text().rstrip().endswith("so it is taken for 0.")
    assert "4                 29.50  -0.50 (n=1)  71.80         +3.50        -42.30" in said.splitlines()
    assert f"tables  {sweep.folder}/table-*.md" in said.splitlines()


def test_inference_is_measured_once_per_run_of_table_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, asked = make_sweep(tmp_path, table=(5,)), list[Path]()

    def rate(checkpoint: Path) -> float:
        asked.append(checkpoint)
        return 8.0

    monkeypatch.setattr(finalize, "inference_rate", rate)
    first = with_checkpoint(run(sweep, "0000", Status.COMPLETE, 30.0, paper=PaperRow(table=5, row="DAFormer")))
    others = [
        dataclasses.replace(first, paper=PaperRow(table=5, row="again")),
        dataclasses.replace(first, paper=PaperRow(table=1, row="DAFormer")),
        dataclasses.replace(first, label="0001", status=Status.FAILED),
        dataclasses.replace(first, label="0002", directory=tmp_path),
    ]
    measured = finalize.measure_inference([first, *others])
    assert [row.metric("inference_images_per_second") for row in measured] == [8.0, 8.0, None, None, None]
    assert len(asked) == 1 and measured[2:] == others[1:]


def test_json_has_no_number_that_json_does_not_know() -> None:
    tree = {"a": [1.5, float("nan"), {"b": float("inf")}], 2: ("x", None)}
    assert finalize.without_nan(tree) == {"a": [1.5, None, {"b": None}], "2": ["x", None]}


def test_a_search_ends_with_the_ensemble_unless_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep(tmp_path, trials=2)
    rows = [run(sweep, "0000", Status.COMPLETE, 30.0), run(sweep, "0001", Status.COMPLETE, 31.0)]
    said = finish(sweep, rows)[1]
    assert "the criterion ensemble could not be computed: FileNotFoundError: Every complete run must have" in said
    assert read_parquet(sweep.folder / "results.parquet") == rows
    monkeypatch.setattr(
        finalize.ensemble,
        "with_ensemble",
        lambda sweep, rows, say: [dataclasses.replace(row, metrics={"criteria/ensemble": 90.0}) for row in rows],
    )
    finish(sweep, rows, [signal.SIGINT])
    assert read_parquet(sweep.folder / "results.parquet") == rows
    finish(sweep, rows)
    assert all(row.metrics == {"criteria/ensemble": 90.0} for row in read_parquet(sweep.folder / "results.parquet"))
    assert "| ensemble |" in (sweep.folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("keep", "kept"), [("complete", {"base", "0000", "0001"}), ("best", {"base", "0001"}), ("none", set())]
)
def test_checkpoints_are_kept_as_asked_when_the_sweep_is_over(keep: str, kept: set[str], tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, trials=3, keep=keep)
    scores = {"base": 30.0, "0000": 31.0, "0001": 32.0}
    rows = [with_checkpoint(run(sweep, label, Status.COMPLETE, score)) for label, score in scores.items()]

    def left() -> set[str]:
        return {file.parents[1].name for file in sweep.trials_folder.glob("*/checkpoint_1/checkpoint.pt")}

    finish(sweep, rows)
    assert left() == {"base", "0000", "0001"}, "a third trial is to come"
    rows.append(with_checkpoint(run(sweep, "0002", Status.PRUNED, 10.0)))
    finish(sweep, rows, [signal.SIGTERM])
    assert left() == {"base", "0000", "0001"}
    finish(sweep, rows)
    assert left() == kept and (sweep.folder / "best" / "checkpoint.pt").read_text() == "0001"


def test_a_command_with_a_path_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "it's; a $HOME", trials=1)
    said = finish(sweep, [run(sweep, "0000", Status.PRUNED, 30.0)])[1]
    [command] = [line.removeprefix("curves").strip() for line in said.splitlines() if line.startswith("curves")]
    assert shlex.split(command) == ["tensorboard", "--logdir", str(sweep.trials_folder)]
