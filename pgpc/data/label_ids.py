"""Tables from raw ids, the pixel values of label files, to train ids; and how users describe their own labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pgpc.classes import IGNORE_INDEX, ClassSet, classes_from_json
from pgpc.runtime.checks import check

UNKNOWN = IGNORE_INDEX - 1
"""Entry of a table for ids that mean nothing, a sign of a wrong file. Never a train id, as classes are fewer."""
NUM_IDS = 2**16
"""Raw ids have up to 16 bits."""

_FORM = (
    'Write {"classes": [{"name": "road", "ids": [7], "color": [128, 64, 128], "thing": false}, ..], "ignore": [0]}; '
    '"ids" are the position in the list where left out, "color" (or "colour") and "thing" may be left out, and '
    '"ignore" may be "rest".'
)


def raw_id_table(train_ids: Mapping[int, int], ignored: Iterable[int], *, rest: int = UNKNOWN) -> np.ndarray:
    """Return a look-up table from raw ids to train ids.

    Args:
        train_ids: The train id of each raw id, which lies in 0..65535.
        ignored: The raw ids of no class.
        rest: The entry of all other ids, `UNKNOWN` or ``IGNORE_INDEX``.

    Returns:
        ``(65536,)`` uint8.
    """
    table = np.full(NUM_IDS, rest, dtype=np.uint8)
    table[list(ignored)] = IGNORE_INDEX
    table[list(train_ids)] = list(train_ids.values())
    return table


def train_id_labels(num_classes: int) -> np.ndarray:
    """Return the look-up table of labels that hold train ids already."""
    return raw_id_table({k: k for k in range(num_classes)}, [IGNORE_INDEX])


def read_description(file: Path | str) -> tuple[ClassSet, np.ndarray]:
    """Read which classes a user's own labels have, and by which ids.

    The file is JSON:
    ``{"classes": [{"name": .., "ids": [..], "color": [r, g, b], "thing": bool}, ..], "ignore": [..]}``.
    Classes are in the order of their train ids. "ids" are the pixel values that mean the class, 0..65535, by default
    its position in the list, and none (``[]``) for a class that only another data set has; "color", which may also be
    written "colour", and "thing" are optional. "ignore" lists the ids of no class, by default none; "rest" ignores all
    ids that no class has.

    Args:
        file: The path of the file.

    Returns:
        The classes, and the table of :func:`raw_id_table`.

    Raises:
        ValueError: The file is not of this form, or gives an id twice; the message names the place.
        OSError: The file cannot be read.
    """
    try:
        description = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"A description of classes must be JSON, but {file} is not: {error}. {_FORM}") from error
    try:
        return _parse(description)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _parse(description: Any) -> tuple[ClassSet, np.ndarray]:
    _check_keys("The description", description, required={"classes"}, optional={"ignore"})
    entries, ignore = description["classes"], description.get("ignore", [])
    check(isinstance(entries, list) and len(entries) > 0, '"classes" must be a list of at least one', entries, _FORM)
    names: dict[int, str] = {}  # of raw ids
    train_ids: dict[int, int] = {}
    for k, entry in enumerate(entries):
        _check_keys(f"Entry {k} of the classes", entry, required={"name"}, optional={"ids", "color", "colour", "thing"})
        name = entry["name"]
        check(isinstance(name, str) and name != "", f"The name of class {k} must be a text", name, _FORM)
        thing = entry.get("thing", False)
        check(isinstance(thing, bool), f'"thing" of class {name!r} must be true or false', thing)
        for raw in _ids(f"ids of class {name!r}", entry.get("ids", [k])):
            _check_new(raw, f"class {name!r}", names)
            train_ids[raw] = k
    classes = classes_from_json(entries)
    if ignore == "rest":
        return classes, raw_id_table(train_ids, (), rest=IGNORE_INDEX)
    ignored = _ids('"ignore"', ignore, or_rest=True)
    for raw in ignored:
        _check_new(raw, '"ignore"', names)
    return classes, raw_id_table(train_ids, ignored)


def _check_keys(what: str, value: Any, *, required: set[str], optional: set[str]) -> None:
    check(isinstance(value, dict), f"{what} must be an object in braces", value, _FORM)
    lacking, unknown = required - value.keys(), value.keys() - required - optional
    keys = ", ".join(f'"{key}"' for key in sorted(required)) + " and may have "
    keys += ", ".join(f'"{key}"' for key in sorted(optional))
    check(not lacking and not unknown, f"{what} must have {keys}", sorted(value), _FORM)


def _ids(what: str, value: Any, *, or_rest: bool = False) -> list[int]:
    ids = value if isinstance(value, list) else []
    sound = ids is value and all(type(raw) is int and 0 <= raw < NUM_IDS for raw in ids)
    rule = f"{what} must be a list of whole numbers in 0..{NUM_IDS - 1}" + (' or "rest"' if or_rest else "")
    check(sound, rule, value, _FORM)
    return ids


def _check_new(raw: int, owner: str, owners: dict[int, str]) -> None:
    """Raise an error if an id has an owner already; otherwise note this one."""
    if raw in owners:
        raise ValueError(
            f"An id must be listed once, but {raw} is listed by {owners[raw]} and by {owner}. Remove it from one; "
            '"ids" that are left out are the position in the list.'
        )
    owners[raw] = owner
