"""A sweep on a target of which there is no label at all, from the command to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import pgpc
import sweeps
from pgpc.config import parse_settings
from pgpc.evaluation.names import ONLINE_CRITERIA
from sweeps.common.words import number
from sweeps.definition.selection import DEFAULT_SELECTION, Selection
from tests.helpers.bare_target import pack_bare_target


@pytest.fixture(scope="module")
def bare(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the pictures of the embedded target, which have no labels."""
    config = pgpc.override(pgpc.preset("streets"), parse_settings(tiny[1::2]))
    return pack_bare_target(config, tmp_path_factory.mktemp("bare"))


@pytest.mark.timeout(900)
def test_a_sweep_without_labels_chooses_by_criteria(
    start: Callable[..., Any], tiny: list[str], bare: Path, tmp_path: Path
) -> None:
    unlabeled = ["--set", f"data.target={bare}", "--set", "data.eval_split=none", "--set", "data.holdout=2"]
    flags = ["--storage", tmp_path, "--name", "bare", "--trials", 2, "--workers", 1, *tiny, *unlabeled]
    driver = start(*flags)
    assert driver.wait() == 0, driver.output
    said = f"Chosen by: {DEFAULT_SELECTION}, the default where the target has no labels; no label of the target is used"
    assert said in driver.output
    assert "mIoU" not in driver.output.partition("On:")[2].replace("source_mIoU", "")
    found = sweeps.read(tmp_path / "bare")
    table = pq.read_table(tmp_path / "bare" / "results.parquet")
    assert all(f"criteria/{name}" in table.column_names for name in ONLINE_CRITERIA)
    assert not any(name.startswith("IoU/") for name in table.column_names)
    assert table["mIoU"].null_count == len(table)
    complete = [row for row in found.rows if row.status == "complete"]
    choice = Selection.parse(DEFAULT_SELECTION)
    scores = choice.scores({row.label: row.metrics for row in complete})
    scores.pop("base")
    assert found.best is not None and found.best.label == max(scores, key=scores.__getitem__)
    assert (tmp_path / "bare" / "best" / "checkpoint.pt").is_file()
    report = (tmp_path / "bare" / "report.md").read_text()
    score = f"{number(scores[found.best.label], choice.spec)}{choice.unit}"
    assert f"has the highest {choice.name}, {score}, chosen without labels" in report


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"select_by": "mIoU"}, "--select-by must need no labels of the target where data.eval_split is none"),
        ({"select_by": "source_mIoU"}, "data.holdout must be at least 1 with --select-by source_mIoU"),
        (
            {"select_by": "rank:snd,teacher_agreement", "preset": "streets/source-only"},
            "adaptation.enabled must be true with --select-by rank:snd,teacher_agreement",
        ),
        ({"select_by": "snd", "set": {"evaluation.criteria_images": 0}}, "criteria_images must be at least 1"),
        ({"table": (5,)}, "data.eval_split must name a labeled split for the table of speeds"),
        ({"select_by": "luck"}, "--select-by must be one of mIoU, source_mIoU"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused_at_once(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = {"data.eval_split": "none", **given.get("set", {})}
    searched = {} if "table" in given else {"range": {"optimizer.lr": "1e-4:1e-3"}}
    with pytest.raises(ValueError, match=message):
        sweeps.run(**{**searched, **given, "storage": tmp_path, "set": settings})
    assert not list(tmp_path.iterdir())
