"""The parts that charts are made of."""

from __future__ import annotations

from sweeps.reporting.drawing.axes import linear_axis
from sweeps.reporting.drawing.svg import Plot, cross, dot, halo_text, rule, svg


def test_places_are_pixels_of_the_picture() -> None:
    plot = Plot(10, 20, 200, 100)
    assert [plot.x(0), plot.x(1), plot.y(0), plot.y(1)] == [10, 210, 120, 20]


def test_ticks_are_drawn_at_their_places() -> None:
    plot, axis = Plot(10, 20, 200, 100), linear_axis(0, 2, 2)
    grid, ticks = plot.y_grid(axis), plot.x_ticks(axis)
    assert grid.count('class="grid"') == 3 and 'y1="70.0"' in grid and ">1</text>" in grid
    assert ticks.count('class="axis"') == 1 + 3 and 'x1="110.0"' in ticks


def test_marks_and_texts() -> None:
    assert dot(1, 2.25, "best", 2.5) == '<circle class="dot best" cx="1.0" cy="2.2" r="2.5"/>'
    assert cross(4, 5, "other") == '<path class="cross other" d="M1.0 2.0l6 6m0 -6l-6 6"/>'
    assert rule("axis", (1, 2), (3, 4)) == '<line class="axis" x1="1.0" x2="2.0" y1="3.0" y2="4.0"/>'
    assert "a &lt;b&gt;" in halo_text(0, 0, "a <b>") and 'aria-label="a &amp; b"' in svg(1, 1, "a & b", [])
