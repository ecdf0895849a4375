"""Small data sets on the disk, and the writer of PNGs, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.data_sets import WRITERS, DataSet
from tests.helpers.pngs import chunk, palette, png


@pytest.fixture
def data_set(tmp_path: Path) -> Callable[[str], DataSet]:
    """``data_set(layout)`` writes a small data set in a layout's folders; "folder" is empty, to be filled."""

    def write(name: str) -> DataSet:
        made = DataSet(tmp_path / f"{name} über")  # a blank and an umlaut: such paths exist
        made.root.mkdir()
        WRITERS[name](made)
        return made

    return write


@pytest.fixture(name="png")
def _png() -> Callable[..., bytes]:
    """Writes PNGs: ``png(pixels, depth=, color=, extra=, interlaced=)``."""
    return png


@pytest.fixture(name="chunk")
def _chunk() -> Callable[[bytes, bytes], bytes]:
    """A chunk of a PNG: ``chunk(kind, data)``."""
    return chunk


@pytest.fixture(name="palette")
def _palette() -> Callable[..., bytes]:
    """The palette chunk of a PNG: ``palette(colors)``."""
    return palette
