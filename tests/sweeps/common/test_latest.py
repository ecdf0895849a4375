"""What a run shows between two evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.common.latest import Latest, read_latest, write_latest

POINT = {"iteration": 20.0, "loss/source": 0.5, "loss/contrast": 1.25, "anchors/road": 9.0, "images_per_second": 12.5}


def test_the_last_point_is_read_back(tmp_path: Path) -> None:
    assert read_latest(tmp_path) is None
    for iteration in (10.0, 20.0):
        write_latest(tmp_path, {**POINT, "iteration": iteration})
    assert read_latest(tmp_path) == Latest(iteration=20, loss=1.75, images_per_second=12.5)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"iteration": 1}', '{"iteration": "a"}', "\udcff"])
def test_what_cannot_be_read_is_not_there(text: str, tmp_path: Path) -> None:
    write_latest(tmp_path, POINT)
    [file] = tmp_path.iterdir()
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_latest(tmp_path) is None


def test_a_run_goes_on_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file in the place of the folder")
    write_latest(tmp_path / "full", POINT)
    assert read_latest(tmp_path / "full") is None
