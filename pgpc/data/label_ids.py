"""Tables from raw ids, the pixel values of label files, to train ids; and how users describe their own labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgpc.classes import IGNORE_INDEX, ClassSet, classes_from_json
from pgpc.data.label_colors import LabelColors, label_colors
from pgpc.runtime.checks import check
from pgpc.runtime.json_text import parse_json

UNKNOWN = IGNORE_INDEX - 1
"""Entry of a table for ids that mean nothing, a sign of a wrong file. Never a train id, as classes are fewer."""
NUM_IDS = 2**16
"""Raw ids have up to 16 bits."""

_FORM = (
    'Write {"classes": [{"name": "road", "ids": [7], "color": [128, 64, 128], "thing": false}, ..], "ignore": [0]}; '
    '"ids" are the position in the list where left out, "color" (or "colour") and "thing" may be left out, and '
    '"ignore" may be "rest", and may list colors [r, g, b]. "labels": "ids" or "colors" says what label files hold.'
)


class LabelForm(Enum):
    """What the pixels of label files hold."""

    IDS = "ids"
    COLORS = "colors"
    EITHER = "either"
    """Ids, but colors where a file can be nothing else."""


class Description(NamedTuple):
    """What a user says of the labels of an own data set.

    Attributes:
        classes: The classes, by train id.
        raw_ids: ``(65536,)`` uint8, the table of :func:`raw_id_table`.
        colors: The train ids of the colors that are listed; None where colors say no class.
        form: What label files hold.
        ignores_rest: True where whatever no class has is ignored, unseen.
    """

    classes: ClassSet
    raw_ids: np.ndarray
    colors: LabelColors | None
    form: LabelForm
    ignores_rest: bool


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


def read_description(file: Path | str) -> Description:
    """Read which classes a user's own labels have, and by which ids or colors.

    The file is JSON: ``{"classes": [{"name": .., "ids": [..], "color": [r, g, b], "thing": bool}, ..], "ignore": [..],
    "labels": "ids"}``. Classes are in the order of their train ids. "ids" are the pixel values that mean the class,
    0..65535, by default its position in the list, and none (``[]``) for a class that only another data set has;
    "color", which may also be written "colour", and "thing" are optional. "ignore" lists the ids and the colors
    (``[r, g, b]``) of no class, by default none; "rest" ignores all that no class has. "labels" says whether label
    files hold "ids" or "colors"; where it is left out, a picture of colors is read by them, and others hold ids.

    Args:
        file: The path of the file.

    Raises:
        ValueError: The file is not of this form, gives an id twice, or has fewer than two classes; the message names
            the place.
        OSError: The file cannot be read.
    """
    try:
        description = parse_json(Path(file).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"A description of classes must be JSON, but {file} is not: {error}. {_FORM}") from error
    try:
        return _parse(description)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _parse(description: Any) -> Description:
    _check_keys("The description", description, required={"classes"}, optional={"ignore", "labels"})
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
    ignores_rest = ignore == "rest"
    ignored_colors = _colors_among(ignore)
    ignored = [] if ignores_rest else _ids('"ignore"', _without_colors(ignore), or_rest=True)
    for raw in ignored:
        _check_new(raw, '"ignore"', names)
    _check_several(classes.names)
    form = _form(description.get("labels"))
    listed = {k: classes.colors[k] for k, entry in enumerate(entries) if entry.keys() & {"color", "colour"}}
    colors = None
    if listed and form is not LabelForm.IDS:
        colors = label_colors(listed, ignored_colors, classes.names, ignores_rest=ignores_rest)
        if colors.conflict and form is LabelForm.COLORS:
            raise ValueError(colors.conflict)
    elif form is LabelForm.COLORS:
        raise ValueError(f'Labels in colors need the "color" of each class that they show, but none is listed. {_FORM}')
    raw_ids = raw_id_table(train_ids, ignored, rest=IGNORE_INDEX if ignores_rest else UNKNOWN)
    return Description(classes, raw_ids, colors, form, ignores_rest)


def _check_several(names: tuple[str, ...]) -> None:
    """Raise an error where there is nothing to tell apart."""
    if len(names) < 2:
        raise ValueError(
            f"There must be at least two classes, since a network tells classes apart, but only {names[0]!r} is "
            "listed. To find one class, list what is not it as a class, too, with the ids that are now ignored: "
            f'{{"classes": [{{"name": "background", "ids": [0]}}, {{"name": "{names[0]}", "ids": [1]}}]}}.'
        )


def _form(value: Any) -> LabelForm:
    """Return what label files hold, as "labels" says."""
    known = (LabelForm.IDS.value, LabelForm.COLORS.value)
    check(value is None or value in known, '"labels" must be "ids" or "colors", or be left out', value)
    return LabelForm.EITHER if value is None else LabelForm(value)


def _colors_among(ignore: Any) -> list[tuple[int, int, int]]:
    """Return the colors ``[r, g, b]`` that "ignore" lists."""
    found = [value for value in ignore if isinstance(value, list)] if isinstance(ignore, list) else []
    for value in found:
        sound = len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value)
        check(sound, 'A color in "ignore" must be [r, g, b], each 0..255', value, _FORM)
    return [(red, green, blue) for red, green, blue in found]


def _without_colors(ignore: Any) -> Any:
    return [value for value in ignore if not isinstance(value, list)] if isinstance(ignore, list) else ignore


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
