"""What all figures share: panels in a grid, the legend of classes, and writing to a file.

Sizes are those of print: inches on paper, and points of type that stay legible in a paper of two columns. Figures are
made without pyplot, which would keep them all in a global list and may look for a display.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pgpc.classes import IGNORE_INDEX, ClassSet
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file

if TYPE_CHECKING:  # slow to import, and not needed by a training
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

PAGE = 7.16
"""Width in inches of a figure over both columns of a page."""
COLUMN = 3.5
"""Width in inches of a figure in one column."""
POINTS = 7.0
"""Size of the type, in points."""

_SMALLEST_POINTS = 5.0
_LINE = 1.3 * POINTS / 72  # inches, with the space to the next line
_LETTER = 0.5 * POINTS / 72  # inches, of a letter of average width
_GAP = 0.04  # inches between panels
_DPI = (300, 600)
# TeX would have to be there for pgf; the others are pixels without a header.
_NOT_OFFERED = ("pgf", "raw", "rgba")


class Panel(NamedTuple):
    """One picture of a grid.

    Attributes:
        picture: Pixels ``(H, W, 3)``, uint8 RGB.
        title: Text written above, one line or several.
    """

    picture: np.ndarray
    title: str = ""


def classes_in(maps: Iterable[np.ndarray]) -> list[int]:
    """Return the ids that occur in any of the maps of train ids, ascending, ``IGNORE_INDEX`` among them."""
    occurs = np.zeros(256, dtype=bool)
    for ids in maps:
        occurs[ids] = True
    return [int(k) for k in np.flatnonzero(occurs)]


def grid(
    rows: Sequence[Sequence[Panel | None]], ids: Sequence[int], classes: ClassSet, *, width: float = PAGE
) -> Figure:
    """Lay panels out in rows and columns, and below them the legend of the classes that occur.

    Args:
        rows: Rows of as many panels each; None leaves a place empty.
        ids: Train ids of the legend.
        classes: The classes, whose names and colors are taken.
        width: Width of the figure in inches.
    """
    from matplotlib.patches import Patch

    columns = len(rows[0])
    panel_width = (width - _GAP * (columns - 1)) / columns
    picture_heights = [panel_width * max(p.picture.shape[0] / p.picture.shape[1] for p in row if p) for row in rows]
    title_heights = [title_height(p.title for p in row if p) for row in rows]
    legend_columns = fitting_columns(ids, classes, width)
    below = legend_height(len(ids), legend_columns)
    height = sum(picture_heights) + sum(title_heights) + _GAP * len(rows) + below
    pixels_per_inch = max(p.picture.shape[1] for row in rows for p in row if p) / panel_width
    figure = empty_figure(width, height, dpi=float(np.clip(pixels_per_inch, *_DPI)))
    top = height
    for row, picture_height, above in zip(rows, picture_heights, title_heights, strict=True):
        top -= above + picture_height
        for column, panel in enumerate(row):
            if panel is not None:
                left = column * (panel_width + _GAP)
                place = (left / width, top / height, panel_width / width, picture_height / height)
                _fill(figure.add_axes(place), panel, panel_width)
        top -= _GAP
    handles = [Patch(facecolor=rgb(k, classes), label=name_of(k, classes)) for k in ids]
    add_legend(figure, handles, legend_columns)
    return figure


def empty_figure(width: float, height: float, dpi: float) -> Figure:
    """Make a white figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi)
    FigureCanvasAgg(figure)  # which can also tell the extent of a text
    return figure


def _fill(axes: Axes, panel: Panel, width: float) -> None:
    enlarged = panel.picture.shape[1] < width * axes.figure.dpi
    # Averaging keeps thin things where a picture is made smaller; where it is not, pixels stay sharp.
    axes.imshow(panel.picture, interpolation="nearest" if enlarged else "antialiased", aspect="equal")
    axes.set_anchor("N")
    axes.set_axis_off()
    write_title(axes, panel.title, width)


def title_height(titles: Iterable[str]) -> float:
    """Return the inches that the longest of some titles takes above its panel, 0 where there is none."""
    lines = max(len(title.splitlines()) for title in titles)
    return _LINE * lines + _GAP if lines else 0.0


def write_title(axes: Axes, title: str, width: float) -> None:
    """Write lines above a panel of a width in inches, at heights that do not depend on their letters."""
    for i, line in enumerate(reversed(title.splitlines())):
        place = (0, 2.5 + i * _LINE * 72)
        text = axes.annotate(
            _literal(line),
            (0.5, 1),
            xycoords="axes fraction",
            xytext=place,
            textcoords="offset points",
            ha="center",
            va="baseline",
            fontsize=POINTS,
        )
        _fit(text, width)


def _fit(text: Text, width: float) -> None:
    """Make a line as small as a width in inches asks for; where it would become illegible, shorten it."""
    figure: Any = text.get_figure()  # of `empty_figure`, whose canvas has a renderer; its type does not say so

    def extent() -> float:
        return float(text.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi)

    needed = extent()
    if needed <= width:
        return
    text.set_fontsize(max(float(text.get_fontsize()) * 0.98 * width / needed, _SMALLEST_POINTS))
    while extent() > width and len(text.get_text()) > 4:
        text.set_text(f"…{text.get_text()[2:]}")  # the end of a path tells more than its beginning


def rgb(k: int, classes: ClassSet) -> tuple[float, float, float]:
    """Return the color of a class, each channel in [0, 1].

    ``IGNORE_INDEX`` is black, as in :func:`pgpc.classes.colorize`.
    """
    red, green, blue = (0, 0, 0) if k == IGNORE_INDEX else classes.colors[k]
    return red / 255, green / 255, blue / 255


def name_of(k: int, classes: ClassSet) -> str:
    """Return the name of a class, or what ``IGNORE_INDEX`` means."""
    return "unlabeled" if k == IGNORE_INDEX else classes.names[k]


def fitting_columns(ids: Sequence[int], classes: ClassSet, width: float) -> int:
    """Return how many columns a legend can have in a width in inches, its entries spread evenly over the rows."""
    entry = max(len(name_of(k, classes)) for k in ids) * _LETTER + 0.28
    rows = -(-len(ids) // max(int(width / entry), 1))
    return -(-len(ids) // rows)


def legend_height(num: int, columns: int) -> float:
    """Return the inches that a legend of `num` entries takes."""
    return -(-num // columns) * _LINE + 0.06


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Write a legend along the lower edge of a figure."""
    for handle in handles:
        handle.set_label(_literal(str(handle.get_label())))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        fontsize=POINTS,
        frameon=False,
        handlelength=1.3,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.2,
        labelspacing=0.3,
        borderpad=0.2,
        borderaxespad=0.0,
    )


def _literal(text: str) -> str:
    """Return text that matplotlib writes as it is; between two dollars it would take it for a formula."""
    return text.replace("$", r"\$")


def check_picture_file(path: Path, option: str = "--out") -> None:
    """Refuse, before anything is computed, a file that no figure can be written to.

    Args:
        path: The file.
        option: The option that names it, for the message.

    Raises:
        ValueError: It is a folder, or its suffix names no format of pictures.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    formats = sorted(set(FigureCanvasBase.get_supported_filetypes()) - set(_NOT_OFFERED))
    check(not path.is_dir(), f"{option} must be a file", str(path), "That is a folder; name a file in it.")
    check(
        _format(path) in formats, f"{option} must end in one of .{', .'.join(formats)}", str(path), "Papers want .pdf."
    )


def save(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; the suffix names the format. A file that is there is replaced."""
    import matplotlib

    # Publishers refuse the Type 3 fonts that are matplotlib's default.
    with matplotlib.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
        write_file(path, lambda file: figure.savefig(file, format=_format(path), dpi=figure.dpi))


def _format(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
