"""The note of a run that was forked from a trunk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps.results.forks import FORKED, TrunkFork, read_fork, write_fork

FORK = TrunkFork(trunk="064e", iterations=20, seconds=2.5)


def test_a_note_is_read_back(tmp_path: Path) -> None:
    write_fork(tmp_path / "0000", FORK)
    assert read_fork(tmp_path / "0000") == FORK


def test_notes_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / FORKED).write_text('{"warm_up": "064e", "iterations": 20, "seconds": 2.5}')
    assert FORKED == "forked.json" and read_fork(tmp_path) == FORK


def test_a_run_without_a_note_was_not_forked(tmp_path: Path) -> None:
    assert read_fork(tmp_path) is None and read_fork(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", '{"warm_up": "06', "[]", "{}", json.dumps({"warm_up": "a"})])
def test_a_damaged_note_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / FORKED).write_text(text)
    assert read_fork(tmp_path) is None
