"""The tables of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeps.reporting import tables
from sweeps.reporting.data import read
from tests.helpers.reports import COMPLETE, EVIL, MINUS, NOTHING, TYPICAL, Make, Write


def test_every_trial_is_ranked_with_the_numbers_of_the_parquet_file(typical: Path, write: Write) -> None:
    page = write(typical).page
    head, *body = page.tables["table-ranking"]
    rows = {row["trial"]: row for row in pq.read_table(typical / "results.parquet").to_pylist()}
    assert [line[1] for line in body] == ["0001", "0000", "base", "0002", "0003", "0004"]
    assert [line[0] for line in body] == ["1", "2", *[NOTHING] * 4]
    for line, value in zip(body, page.values["table-ranking"][1:], strict=True):
        row = rows[line[1]]
        for key in ("mIoU", "contrast.eta", "iterations", "seconds"):
            shown = value[head.index({"contrast.eta": "eta", "seconds": "time"}.get(key, key))]
            assert (None if shown is None else float(shown)) == row[key], (line[1], key)
    assert body[0][head.index("vs base")] == "+3.46" and body[2][head.index("vs base")] == NOTHING
    assert page.tables["table-failures"][1:] == [["0003", "50", EVIL], ["0004", "0", "died at once"]]


def test_classes_are_painted_by_their_difference_to_the_base(typical: Path) -> None:
    table = tables.per_class(read(typical))
    assert table is not None and list(table.head) == ["trial", "mIoU", "road", "car"]
    best, _, base = table.rows
    assert [cell.text for cell in base] == ["base", "30.00", "50.0", "30.0"] and base[0].strong
    assert best[2].tint == pytest.approx(3.456 / 5) and best[3].tint == pytest.approx((33.456 - 25 - 30) / 5)
    assert all(cell.tint == 0 for cell in base[1:])


def test_scores_over_all_classes_stand_beside_the_mean_iou(typical: Path) -> None:
    """Where the trainings report them; those of earlier versions did not."""
    report = read(typical)
    for row in report.rows:
        row.metrics["pixel_accuracy"] = 80.0  # type: ignore[index]
    table = tables.per_class(report)
    assert table is not None and list(table.head) == ["trial", "mIoU", "pixel accuracy", "road", "car"]
    assert [row[2].text for row in table.rows] == ["80.00"] * 3


def test_cost_counts_a_trunk_once_and_what_stopping_early_saves(make: Make, write: Write) -> None:
    folder = make(TYPICAL[:3], {0: [10, 20, 29, 30]}, workers=2)
    for label in ("base", "0000", "0001"):
        directory = folder / "trials" / label
        directory.mkdir(parents=True)
        (directory / "forked.json").write_text(json.dumps({"warm_up": "w", "iterations": 20, "seconds": 2.0}))
    # Three runs of 10 s and one of 5 s, stopped early; twice 2 s of these were not trained again, and 5 s not at all.
    iterations, worker_seconds = tables.cost_of(read(folder))
    assert worker_seconds == pytest.approx((2 * 31, 2 * 4, 0, 2 * 5, 2 * 5))
    assert iterations == pytest.approx((310, 40, 0, 50, 50))
    page = write(folder).page
    assert page.tables["table-cost"][2] == ["of it in trials stopped early or failed", "0:10", "10", "12", "50"]
    assert [line[0] for line in page.tables["table-cost"]][3:] == [
        "saved by the trunk",
        "saved by stopping early",
        "every trial to its end",
    ]
    assert "16 % of the iterations (16 % of the time) went into trials that were stopped early or failed." in page.words
    assert "times the 2 workers of a trial" in page.words and "The trunk is the part of the trainings" in page.words


def test_cost_says_nothing_of_what_there_was_not(make: Make) -> None:
    caption = tables.cost(read(make(TYPICAL[:1], {0: [10, 20, 29, 30]}, workers=1))).caption
    assert caption == "Time of training, without evaluations and without what interruptions have lost."


def test_seeds_are_averaged_and_compared_in_pairs(make: Make, write: Write) -> None:
    trials = [(COMPLETE, {0: [1, 30.0], 1: [1, 34.0]}, ""), (COMPLETE, {0: [1, 31.0], 1: [1, 31.0]}, "")]
    page = write(make(trials, {0: [1, 29.0], 1: [1, 30.0]}, seeds=(0, 1))).page
    head, *body = page.tables["table-ranking"]
    shown = [[line[head.index(k)] for k in ("trial", "mIoU", "std", "seeds", "vs base", "n")] for line in body]
    assert shown[:2] == [["0000", "32.00", "2.83", "2", "+2.50", "2"], ["0001", "31.00", "0.00", "2", "+1.50", "2"]]
    assert shown[2] == ["base", "29.50", "0.71", "2", NOTHING, NOTHING]
    # Two differences of 1 and 4 by themselves: the error of the mean is 1.5, and the quantile of 97.5 % 12.71; as one
    # of two, none of which is an effect, that of 98.75 %, 25.45.
    assert [line[head.index("95 % interval")] for line in body[:2]] == [
        f"{MINUS}35.68 to +40.68",
        f"{MINUS}11.23 to +14.23",
    ]
    assert [line[head.index("p")] for line in body[:2]] == ["0.410", "0.410"]
    assert page.tables["table-classes"][1][2] == "52.0"
    assert all(f"runs/0000-s{seed}" in page.words for seed in (0, 1))


def test_tables_of_the_paper_stand_beside_what_came_out(make: Make, write: Write) -> None:
    trials = [(COMPLETE, {0: [1, score]}, "") for score in (30.0, 31.0, 33.0, 32.0, 31.5)]
    page, _, markdown, latex = write(make(trials, table=(12,), name="table"))
    lines = {line[0]: line for line in page.tables["table-paper-0-12"]}
    assert lines["row"][2:5] == [f"{MINUS} base", "paper", f"paper {MINUS} base"]
    assert lines["4"][1:] == ["33.00", "+3.00 (n=1)", "71.80", "+3.50", f"{MINUS}38.80"]
    assert "Table 12" in markdown and r"\label{tab:paper-0-12}" in latex
    assert "12: 4" in page.tables["table-ranking"][1] and "nothing was searched" in page.words


def test_front_has_a_table_and_comes_first(with_front: Path, write: Write) -> None:
    page, source, markdown, latex = write(with_front)
    head, *body = page.tables["table-ranking"]
    assert head[:6] == ["rank", "trial", "status", "front", "mIoU", "seconds"]
    assert [line[1:6] for line in body] == [
        ["0001", "complete", "*", "40.00", "30.0"],
        ["0000", "complete", "*", "20.00", "10.0"],
        ["0002", "complete", "", "30.00", "90.0"],
        ["base", "complete", "", "18.00", "4.0"],
    ]
    assert [line[head.index("negatives")] for line in body] == ["512", "512", NOTHING, NOTHING]
    assert [line[:4] for line in page.tables["table-pareto"][1:]] == [
        ["0001", "40.00", "30.00", "+22.00"],
        ["0000", "20.00", "10.00", "+2.00"],
    ]
    assert 'id="pareto"' in source and r"\label{tab:pareto}" in latex and "The front: " in markdown


def test_a_ranking_by_labels_of_the_target_says_that_it_is_optimistic(typical: Path) -> None:
    caption = tables.ranked(read(typical)).caption
    assert "Ranking by labeled images of the target is the paper's and the field's habit, and optimistic" in caption
