"""The ranked table of the terminal."""

from __future__ import annotations

import dataclasses

from sweeps.results.ranking import terminal_table
from sweeps.results.rows import Parent, Row


def test_table_ranks_only_what_was_searched_to_the_end(rows: list[Row]) -> None:
    lines = [line.split() for line in terminal_table(rows, ["contrast.eta"]).splitlines()]
    assert lines[0] == ["rank", "trial", "status", "mIoU", "eta", "iterations", "seconds"]
    assert lines[2] == ["1", "0002", "complete", "33.00", "0.5", "100", "7"]
    assert lines[3] == ["-", "base", "complete", "31.00", "-", "100", "-"]
    assert [line[0] for line in lines[2:]] == ["1", "-", "2", "-", "-", "-"]


def test_words_are_flush_left_and_numbers_flush_right(rows: list[Row]) -> None:
    assert terminal_table(rows[:4], ["contrast.eta"]).splitlines() == [
        "rank  trial  status     mIoU  eta  iterations  seconds",
        "----  -----  --------  -----  ---  ----------  -------",
        "   1  0002   complete  33.00  0.5         100        7",
        "   -  base   complete  31.00    -         100        -",
        "   2  0000   complete  30.00  0.5         100        7",
        "   -  0001   pruned    35.00  0.5          50        7",
    ]


def test_table_has_means_over_seeds(seeded: list[Row]) -> None:
    lines = terminal_table(seeded, ["contrast.eta"], num_seeds=2).splitlines()
    assert lines[0].split()[:6] == ["rank", "trial", "status", "mIoU", "-", "base"]
    assert (
        "33.00 ± 2.83" in lines[2]
        and "+2.00 ± 1.41 [-36.19, +40.19] (n=2)" in lines[2]
        and lines[2].split()[1] == "0000"
    )
    assert "20.00 (1 of 2)" in next(line for line in lines if "0001" in line)


def test_front_comes_first_and_is_marked(two_objectives: list[Row]) -> None:
    names = ["mIoU", "seconds"]
    lines = [line.split() for line in terminal_table(two_objectives, ["contrast.eta"], 2, names).splitlines()]
    assert lines[0] == ["rank", "trial", "status", "front", "mIoU", "seconds", "-", "base", "eta", "iterations"]
    assert lines[2][:5] == ["1", "0003", "complete", "*", "30.50"] and lines[2][7] == "40.0"
    assert lines[5][:4] == ["3", "0002", "complete", "30.00"]


def test_children_have_a_column(rows: list[Row]) -> None:
    child = dataclasses.replace(rows[3], parent=Parent(label="0000", iteration=50, seconds=5.0))
    lines = [line.split() for line in terminal_table([*rows[:3], child], []).splitlines()]
    assert lines[0][:6] == ["rank", "trial", "status", "child", "of", "mIoU"]
    assert lines[2][:6] == ["1", "0002", "complete", "0000", "from", "50"] and lines[3][:4] == [
        "-",
        "base",
        "complete",
        "-",
    ]
