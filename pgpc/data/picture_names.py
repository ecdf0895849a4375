"""Names of files that look like pictures, and the search for files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

READABLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif")
"""What the name of a picture that can be read may end with, in small or capital letters."""

OTHER_SUFFIXES = (
    *(".gif", ".avif", ".jp2", ".dng", ".jpe", ".jfif"),
    *(".ppm", ".pgm", ".pnm", ".tga", ".exr"),
)
"""What the names of other pictures end with, which must be converted first."""

PICTURE_SUFFIXES = READABLE_SUFFIXES + OTHER_SUFFIXES
"""What the name of anything that looks like a picture ends with."""

_FEW = 3


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder whose names end with one of `suffixes`, in small or capital letters.

    Links are followed, since data sets are often mounted by them. Names that begin with "." are passed over.

    Raises:
        ValueError: There is a link to a folder that does not exist.
        OSError: A folder cannot be read.
    """
    ends = tuple(suffix.lower() for suffix in suffixes)
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        parent, above = waiting.pop()
        status = parent.stat()
        this = (status.st_dev, status.st_ino)
        if this in above:
            continue  # a link to a folder that it lies in
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                if path.is_dir() if entry.is_symlink() else entry.is_dir():
                    waiting.append((path, above | {this}))
                elif entry.name.lower().endswith(ends):
                    yield path
                elif entry.is_symlink() and not path.suffix and not path.exists():
                    raise ValueError(
                        f"Folders of images must exist, but {path} is a link to nothing. Mount what it points to, or "
                        "remove the link."
                    )


def folders_in(folder: Path) -> list[Path]:
    """Return the sub-folders of a folder whose names do not begin with ".", sorted; [] where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def by_folder(files: Iterable[Path], root: Path) -> list[str]:
    """Count files by their folders and endings, for messages.

    Args:
        files: The files, below `root`.
        root: The folder that names are relative to.

    Returns:
        A line for each folder and ending, most files first, with the first names.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for file in sorted(files):
        groups.setdefault((_shown(file.parent, root), file.suffix), []).append(_shown(Path(file.name)))
    lines = []
    for (folder, suffix), names in sorted(groups.items(), key=lambda group: -len(group[1])):
        few = ", ".join(names[:_FEW]) + (", .." if names[_FEW:] else "")
        lines.append(f"{folder}/: {len(names)} {suffix or 'without suffix'} ({few})")
    return lines


def count_by_folder(counts: Counter[str]) -> str:
    """Return how many pictures folders have, as text."""
    return " and ".join(f"{name} ({number} picture{'s' * (number != 1)})" for name, number in sorted(counts.items()))


def _shown(path: Path, root: Path | None = None) -> str:
    """Return a path for messages; names of files need not be text."""
    text = os.path.relpath(path, root) if root is not None else str(path)
    return text.encode(errors="backslashreplace").decode()
