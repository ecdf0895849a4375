"""Folders of sweeps, and what their reports say."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from sweeps import report
from sweeps.reporting.write import NAMES
from tests.helpers.reports import TYPICAL, Make, Page, Write, Written, make_sweep, two_objectives


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make_sweep` in a folder of the test's own."""
    return functools.partial(make_sweep, tmp_path)


@pytest.fixture(scope="session")
def typical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep to be read only."""
    return make_sweep(tmp_path_factory.mktemp("typical"), TYPICAL, {0: [10, 20, 29, 30.0]}, workers=2)


@pytest.fixture(scope="session")
def with_front(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two objectives to be read only."""
    return two_objectives(tmp_path_factory.mktemp("front"))


@pytest.fixture(scope="session")
def write() -> Write:
    """Has the command write the report of a folder, without pictures, and reads what it has written."""

    def write_and_read(folder: Path) -> Written:
        assert report.main([str(folder), "--images", "0"]) == 0
        source, markdown, latex = ((folder / name).read_text() for name in NAMES)
        assert not list(folder.glob("*.tmp"))
        return Written(Page(source), source, markdown, latex)

    return write_and_read
