"""What is known of configuration keys, as text for people: on a terminal, and as a page in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pgpc.runtime.coercion import as_setting
from pgpc.runtime.fields import FieldInfo, Phase, type_in_words

_INDENT = "    "
_LABEL_WIDTH = 15


def explain(info: FieldInfo, value: Any, width: int) -> str:
    """Return all that is known of one key, for a terminal.

    Args:
        info: What is known.
        value: Value that the key has.
        width: Columns of the terminal; at least 40 are used.
    """
    width = max(width, 40)
    facts = {
        "default": as_setting(info.default),
        "values": _values(info),
        "unit": info.unit,
        "first acts": info.acts or info.phase.meaning,
        "running trial": _in_a_running_trial(info),
        "source": info.source,
    }
    lines = [
        f"{info.key}={as_setting(value)}",
        *textwrap.wrap(info.doc, width, initial_indent=_INDENT, subsequent_indent=_INDENT),
    ]
    for label, text in facts.items():
        if text or label == "default":
            lines += textwrap.wrap(
                text or "(empty)",
                width,
                initial_indent=f"{_INDENT}{label:<{_LABEL_WIDTH}}",
                subsequent_indent=_INDENT + " " * _LABEL_WIDTH,
            )
    return "\n".join(lines)


def markdown(groups: Mapping[str, tuple[type, Sequence[FieldInfo]]], command: str) -> str:
    """Return the reference page of all keys.

    Args:
        groups: By dotted key of a group, empty for the root: its class, and what is known of its own keys.
        command: What generates the page.
    """
    parts = [
        "# Configuration",
        "All that determines a run is one config, a tree of keys. A preset gives every key a value, and `--set "
        "KEY=VALUE` or `pgpc.override` changes some. `pgpc show PRESET` prints the values, and `pgpc show --explain "
        "KEY` what is said here of a key.",
        f"*This page is generated: `{command}`.*",
        "**First acts** says from when on a key influences what is learned, so that runs which differ in it alone are "
        "the same until then:",
        "\n".join(f"- *{phase.value}*: {phase.meaning}." for phase in Phase),
        "**Running trial** says whether a run may be continued with another value: *fork*: as a fork of the run that "
        "it was; "
        "*resume*: as the same run; *move*: as the same run, from where the same files now lie.",
    ]
    for group, (cls, infos) in groups.items():
        summary = (cls.__doc__ or "").partition("\n\nAttributes:")[0]
        parts.append(f"## `{group}`" if group else "## The run")
        parts.append(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", summary))
        rows = [
            "| Key | Default | Values | Meaning | First acts | Running trial |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        parts.append("\n".join([*rows, *map(_row, infos)]))
    return "\n\n".join(parts) + "\n"


def _row(info: FieldInfo) -> str:
    """Return a key's row in the table of its group."""
    default = as_setting(info.default)
    meaning = (
        info.doc + (f" First acts {info.acts}." if info.acts else "") + (f" [{info.source}]" if info.source else "")
    )
    cells = [
        f"`{info.key}`",
        f"`{default}`" if default else "",
        _values(info) + (f"; {info.unit}" if info.unit else ""),
        meaning,
        info.phase.value,
        "fork" if info.adjustable else "resume" if info.phase is Phase.NEVER else "move" if info.place else "",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(info: FieldInfo) -> str:
    """Return the type and the range of a key's values."""
    words = type_in_words(info.kind)
    if info.choices:
        return ("a list of " if info.length is None and words.startswith("list") else "") + " / ".join(
            map(str, info.choices)
        )
    return f"{words}, {info.range}" if info.range else words


def _in_a_running_trial(info: FieldInfo) -> str:
    """Return whether a run may be continued with another value of the key, in words."""
    if info.adjustable:
        return "may change it, as a fork of the run that it was"
    if info.phase is Phase.NEVER:
        return "may change it when it is resumed"
    if info.place:
        return "must keep it, though the same files may lie elsewhere when it is resumed"
    return "must keep it"
