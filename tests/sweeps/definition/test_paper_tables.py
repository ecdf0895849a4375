"""The paper's tables as data, what becomes of them on each preset, and one real, tiny run of Table 12."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest

import pgpc
from pgpc.bases.state import check_feature_distance
from pgpc.config import flatten
from sweeps.command_line import parse
from sweeps.definition import paper_tables as tables
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep

STREETS = pgpc.preset("streets")

# As printed: the row's label, mIoU, and the difference to the base that Table 6 prints beside it.
TABLE_6 = [
    ("SP+SN+TN", 71.8, 3.5),
    ("SP+SN", 70.8, 2.5),
    ("SP+TN", 70.0, 1.7),
    ("TP+SN+TN", 71.0, 2.7),
    ("TP+SN", 70.1, 1.8),
    ("TP+TN", 69.8, 1.5),
]
PRINTED = {
    7: [71.8, 70.9, 70.9, 70.3],
    8: [61.25, 61.19, 71.8, 67.49, 67.69],
    9: [70.4, 71.8, 71.0, 70.5, 70.2],
    10: [69.9, 70.0, 71.8, 70.0, 70.3],
    11: [70.2, 71.8, 70.5, 69.8],
    12: [69.7, 71.8, 69.6, 68.7],
}
GTA5 = [56.3, 61.3, 68.3, 71.8, 70.6, 72.3, 73.8, 75.0, 75.9, 76.5]


def of(number: int) -> tables.Table:
    return next(table for table in tables.TABLES if table.number == number)


def figures(number: int) -> list[float | None]:
    return [row.figure for row in of(number).rows]


@pytest.mark.parametrize(("label", "figure", "difference"), TABLE_6)
def test_table_6_is_the_papers(label: str, figure: float, difference: float) -> None:
    row = of(6).row(label)
    assert row.figure == figure
    assert row.figure - of(6).row(row.base).figure == pytest.approx(difference)


@pytest.mark.parametrize("number", PRINTED)
def test_ablations_have_the_papers_figures_below_the_base(number: int) -> None:
    assert figures(number) == [68.3, *PRINTED[number]]


def test_tables_of_bases_have_the_papers_figures() -> None:
    assert figures(1) == GTA5
    assert figures(2) == [53.0, 57.8, 60.9, 63.7, 62.2, 64.2, 65.8, 67.7, 67.3, 68.4]
    assert figures(3) == [53.8, 54.7, None, 55.7, 55.9, 57.2, 60.2, 61.3]
    assert figures(4) == [55.4, 56.5, None, 64.2, 68.0, 64.6, 70.4, 71.4]
    training, inference = (t for t in tables.TABLES if t.number == 5)
    assert [row.figure for row in training.rows] == [0.8, 0.6, 0.4, 0.3]
    assert [row.figure for row in inference.rows] == [8.9, 2.5, 0.5, 0.5]


def test_figures_of_several_scales_are_said_to_be_where_they_are_printed() -> None:
    """ProCA's alone: 56.3 and 53.0 at six scales and mirrored, 55.1 and 52.0 at one."""
    for number, figure, one_scale in ((1, 56.3, 55.1), (2, 53.0, 52.0)):
        (table,) = tables.select([number])
        assert f"{figure} for ProCA is of images at six scales and mirrored" in table.notes
        assert f"has {one_scale}. " in table.notes
        settings = dict(re.findall(r"--set (evaluation\.\w+)=([\w.,]+)", table.notes))
        scales = tuple(map(float, settings["evaluation.scales"].split(",")))
        changes = {"evaluation.scales": scales, "evaluation.flip": settings["evaluation.flip"] == "true"}
        evaluation = tables.row_config(table.row("ProCA"), STREETS, changes).evaluation
        assert (evaluation.scales, evaluation.flip) == ((0.5, 0.75, 1.0, 1.25, 1.5, 1.75), True)
        (other,) = tables.select([number], ["daformer"])
        assert "ProCA" not in other.notes
    assert tables.select([2])[0].notes.startswith("mIoU over the 16 classes that SYNTHIA has. The paper's 53.0")


@pytest.mark.parametrize("table", tables.TABLES, ids=tables.TABLES.index)
def test_every_row_has_a_base_in_its_table(table: tables.Table) -> None:
    labels = [row.label for row in table.rows]
    assert len(set(labels)) == len(labels)
    for row in table.rows:
        assert row.base is None or table.row(row.base).base is None


@pytest.mark.parametrize("preset", ["streets", "streets/hrda+pgpc", "gta5-cityscapes/daformer+pgpc"])
def test_every_row_is_a_valid_config_on_every_task(preset: str, tmp_path: Path) -> None:
    weights = tmp_path / "mit_b5.pth"
    weights.touch()
    changes = {"model.pretrained": str(weights)}
    config = pgpc.override(pgpc.preset(preset), changes)
    for table in tables.TABLES:
        for row in table.rows:
            found = tables.row_config(row, config, changes)
            check_feature_distance(found)
            assert found.contrast.enabled == (row.base is not None)
            assert found.name.partition("/")[0] == preset.partition("/")[0]


def test_ablations_change_what_they_say_and_nothing_else() -> None:
    for table in tables.TABLES[6:]:
        for row in table.rows:
            found, own = flatten(tables.row_config(row, STREETS, {})), flatten(STREETS)
            assert {key for key in own if found[key] != own[key]} <= set(row.changes)
    assert tables.row_config(of(12).row("6"), STREETS, {}).contrast.r == 6
    assert tables.row_config(of(8).row("1.2"), STREETS, {}).adaptation.target_weight == 1.2
    config = tables.row_config(of(6).row("TP+SN"), STREETS, {}).contrast
    assert (config.positive, config.negative) == ("target_prototype", ("source",))
    config = tables.row_config(of(7).row("class-wise confidence"), STREETS, {}).contrast
    assert (config.reliable_by, config.reliable_per) == ("confidence", "class")
    config = tables.row_config(of(10).row("M 128, N 512"), STREETS, {}).contrast
    assert (config.anchors, config.negatives) == (128, 512)


def test_the_papers_own_row_is_the_presets_config_in_every_ablation() -> None:
    """On the paper's task: seven rows with 71.8 are one run."""
    config = pgpc.preset("gta5-cityscapes/daformer+pgpc")
    best = [row for number in tables.ABLATIONS for row in of(number).rows if row.figure == 71.8]
    assert len(best) == 7
    assert all(tables.row_config(row, config, {}) == config for row in best)


def test_each_config_is_run_once() -> None:
    # 7 tables with 6, 4, 5, 5, 5, 4 and 4 rows beside the base; the paper's own setting is in each of them.
    assert len(tables.table_configs(tables.select(tables.ABLATIONS), STREETS, {})) == 1 + 1 + 5 + 3 + 4 + 4 + 4 + 3 + 3
    # Tables 1 to 5 have the same ten configs on one task.
    assert len(tables.table_configs(tables.select([1, 2, 3, 4, 5]), STREETS, {})) == 10


def test_bases_of_ones_choice() -> None:
    (table,) = tables.select([1], ["daformer"])
    assert [row.label for row in table.rows] == ["DAFormer", "PGPC+DAFormer"]
    with pytest.raises(ValueError, match="Table 3 must have one of the bases"):
        tables.select([3], ["proca"])


def test_encoders_are_compared_step_by_step(tmp_path: Path) -> None:
    """Each has the source alone, self-training and PGPC, which differ in nothing else, each beside the one before."""
    options = SweepOptions(
        preset="streets/vfm-uda+pgpc", encoders=("test_vit", "test_vit2"), seeds=(0, 1), storage=str(tmp_path)
    )
    sweep = new_sweep(options)
    assert list(sweep.table_configs) == [
        f"{encoder}, {what}"
        for encoder in ("test_vit", "test_vit2")
        for what in ("source only", "self-training", "PGPC")
    ]
    preset = flatten(sweep.config)
    for name, config in sweep.table_configs.items():
        encoder, _, what = name.partition(", ")
        expected = {} if encoder == "test_vit" else {"model.encoder": encoder}
        expected |= {} if what == "PGPC" else {"contrast.enabled": False}
        expected |= {"adaptation.enabled": False} if what == "source only" else {}
        assert {key: value for key, value in flatten(config).items() if value != preset[key]} == expected
    (table,) = sweep.tables
    assert [row.base for row in table.rows[:3]] == [None, "test_vit, source only", "test_vit, self-training"]
    assert table.rows[3].base is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": ("a",), "table": (6,)}, "--encoders runs a table of its own, but got '--table 6'"),
        ({"encoders": ("a", "a")}, "--encoders must be different names of encoders"),
        ({"encoders": ("test_vit",), "preset": "streets/daformer"}, "needs a preset with adaptation and contrast"),
    ],
)
def test_encoders_that_cannot_be_compared(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        new_sweep(SweepOptions(**{"storage": str(tmp_path), **options}))


def test_row_that_does_not_go_with_the_users_changes_is_named() -> None:
    with pytest.raises(ValueError, match=r"Row 'PGPC\+ProCA': contrast.start must lie in"):
        tables.table_configs(tables.select([1]), STREETS, {"contrast.start": "100"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "12", "--trials", "9"], "there is no --trials"),
        (["--table", "12", "--warm-start", "x"], "there is no --warm-start"),
        (["--bases", "hrda"], "--bases chooses rows of Tables 1 to 5"),
        (["--seed", "1", "--seeds", "0,1"], "exclude each other"),
        (["--table", "12", "--preset", "streets/daformer"], "Choose a --preset that ends in +pgpc"),
    ],
)
def test_flags_that_do_not_go_together(arguments: list[str], message: str, tmp_path: Path) -> None:
    given = parse(["--storage", str(tmp_path), *arguments])
    with pytest.raises(ValueError, match=re.escape(message)):
        new_sweep(SweepOptions.from_given(given))


@pytest.fixture(scope="module")
def table_1(start: Callable[..., Any], tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sweep of one base of Table 1 with two seeds, and what it said."""
    storage = tmp_path_factory.mktemp("storage")
    more = ["--table", 1, "--bases", "daformer", "--seeds", "0,1", "--workers", 1, "--set", "training.iterations=6"]
    driver = start("--storage", storage, "--name", "one", *tiny, *more)
    assert driver.wait(800) == 0, driver.output
    return storage / "one", driver.output


@pytest.mark.long
@pytest.mark.timeout(900)
def test_table_1_is_run_with_two_seeds(table_1: Any) -> None:
    folder, _ = table_1
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    assert [(r["row"], r["seed"]) for r in rows] == [
        (label, seed) for label in ("DAFormer", "PGPC+DAFormer") for seed in (0, 1)
    ]
    assert {(r["table"], r["status"], r["iterations"]) for r in rows} == {(1, "complete", 6)}
    assert [r["trial"] for r in rows[:3]] == ["0000-s0", "0000-s1", "0001-s0"]
    for row in rows:
        config = json.loads((Path(row["directory"]) / "config.json").read_text())
        assert config["seed"] == row["seed"]
        assert config["contrast"]["enabled"] == (row["kind"] == "search")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_table_1_is_printed_beside_the_papers(table_1: Any) -> None:
    folder, output = table_1
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    scores = {(r["row"], r["seed"]): r["mIoU"] for r in rows}
    ours = "PGPC+DAFormer"
    differences = [scores[ours, seed] - scores["DAFormer", seed] for seed in (0, 1)]
    line = next(line for line in (folder / "table-1.md").read_text().splitlines() if line.startswith(f"| {ours} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1].startswith(f"{(scores[ours, 0] + scores[ours, 1]) / 2:.2f} ± ")
    assert cells[2].startswith(f"{sum(differences) / 2:+.2f} ± ")
    assert cells[3:7] == [f"{differences[0]:+.2f}", f"{differences[1]:+.2f}", "71.80", "+3.50"]
    assert "Table 1. GTA5 to Cityscapes" in output and "71.80" in output


@pytest.mark.long
@pytest.mark.timeout(900)
def test_table_1_is_a_study_of_optuna(table_1: Any) -> None:
    folder, _ = table_1
    study = optuna.load_study(study_name="one", storage=f"sqlite:///{folder / 'study.db'}")
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    means = [(a["mIoU"] + b["mIoU"]) / 2 for a, b in zip(rows[::2], rows[1::2], strict=True)]
    assert [trial.value for trial in study.trials] == pytest.approx(means)
