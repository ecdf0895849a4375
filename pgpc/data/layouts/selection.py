"""Which images of a folder belong to a split, where several splits or domains lie in one folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pgpc.runtime.json_text import parse_json

IsSelected = Callable[[str], bool]
"""A function that says of an image, by its path below the folder without suffix, whether it belongs to a split."""


class Selection(Protocol):
    """A rule that says which images belong to a split."""

    def of(self, root: Path) -> IsSelected:
        """Return the rule for the data set in a folder.

        Raises:
            ValueError: The data set lacks what says it.
        """


@dataclass(frozen=True)
class Named:
    """Images by their names.

    Attributes:
        names: Names, without folder and without suffix.
    """

    names: frozenset[str]

    def of(self, root: Path) -> IsSelected:
        """Return the rule, the same for every folder."""
        return lambda stem: stem.rpartition("/")[2] in self.names


@dataclass(frozen=True)
class Attribute:
    """Images by an attribute that lists in JSON give them: ``[{"name": "1.jpg", "attributes": {..}}, ..]``.

    Attributes:
        files: Places of such lists below the root; all that are there are read. Folders may hold one list an image.
        attribute: Name of the attribute.
        values: Its values that select an image; one that no list has is not selected.
    """

    files: tuple[str, ...]
    attribute: str
    values: tuple[str, ...]

    def of(self, root: Path) -> IsSelected:
        """Return the rule for the data set in a folder.

        Raises:
            ValueError: There is no such list, or one that cannot be read.
        """
        lists = [root / file for file in self.files if (root / file).is_file()]
        if not lists:
            raise ValueError(
                f"Images are told by their {self.attribute!r}, which lists in JSON say, but {root} has none of "
                f"{', '.join(self.files)}. Unpack the labels that hold them there."
            )
        found: dict[str, str] = {}
        for file in lists:
            found.update(_attributes(file, self.attribute, file.stat().st_mtime_ns))
        return lambda stem: found.get(stem.rpartition("/")[2]) in self.values


@functools.lru_cache(maxsize=8)
def _attributes(file: Path, attribute: str, changed_ns: int) -> dict[str, str]:
    """Return the value of each image of a list, by its name without suffix; a list that is the same is read once."""
    try:
        entries: Sequence[Any] = parse_json(file.read_bytes())
        return {
            Path(entry["name"]).stem: str(entry["attributes"][attribute])
            for entry in entries
            if attribute in (entry.get("attributes") or {})
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'A list of images must be JSON of the form [{{"name": .., "attributes": {{"{attribute}": ..}}}}, ..], but '
            f"{file} is not: {error}."
        ) from error
