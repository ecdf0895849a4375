"""What the charts of a report are made of, as SVG: the rectangle of values with its axes, marks, texts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.reporting.drawing.axes import Axis


@dataclass(frozen=True)
class Plot:
    """The rectangle in which values are drawn, in pixels of the picture.

    Attributes:
        left: Its left edge.
        top: Its upper edge.
        width: Its width.
        height: Its height.
    """

    left: float
    top: float
    width: float
    height: float

    def x(self, place: float) -> float:
        """Return the pixel of a place from 0 (left) to 1 (right)."""
        return self.left + place * self.width

    def y(self, place: float) -> float:
        """Return the pixel of a place from 0 (bottom) to 1 (top)."""
        return self.top + (1 - place) * self.height

    def y_grid(self, axis: Axis) -> str:
        """Return a line across the plot, and its value beside it, for each tick of the upright axis."""
        return "".join(
            rule("grid", (self.left, self.x(1)), (self.y(place), self.y(place)))
            + f'<text class="small" x="{self.left - 5}" y="{self.y(place) + 4:.1f}" text-anchor="end">{text}</text>'
            for place, text in axis.ticks
        )

    def x_ticks(self, axis: Axis) -> str:
        """Return the line below the plot, with a mark and its value for each tick of the level axis."""
        y = self.top + self.height
        return rule("axis", (self.left, self.x(1)), (y, y)) + "".join(
            rule("axis", (self.x(place), self.x(place)), (y, y + 4))
            + f'<text class="small" x="{self.x(place):.1f}" y="{y + 16:.1f}" text-anchor="middle">'
            f"{html.escape(text)}</text>"
            for place, text in axis.ticks
        )

    def x_title(self, text: str) -> str:
        """Return what the level axis is of, below its values."""
        y = self.top + self.height + 32
        return f'<text class="name" x="{self.x(0.5):.1f}" y="{y:.1f}" text-anchor="middle">{html.escape(text)}</text>'

    def y_title(self, text: str) -> str:
        """Return what the upright axis is of, above it."""
        return f'<text class="name" x="2" y="{self.top - 8:.1f}">{html.escape(text)}</text>'


def rule(style: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    """Return a straight line of a class of the page's style, from the first to the second of each coordinate."""
    return f'<line class="{style}" x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"/>'


def dot(x: float, y: float, style: str, radius: float) -> str:
    """Return a dot with its center at x, y."""
    return f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def cross(x: float, y: float, style: str) -> str:
    """Return a small diagonal cross with its center at x, y."""
    return f'<path class="cross {style}" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'


def halo_text(x: float, y: float, text: str) -> str:
    """Return small text that stands out against the lines that it covers."""
    return f'<text class="small halo" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return a picture of these parts, with a label for those who do not see it."""
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}">{"".join(parts)}</svg>'
