"""The wording that every error about a value has: the rule, the value received, the remedy; and what failed in part."""

from __future__ import annotations

import re
from collections.abc import Sequence


class PartlyFailed(ValueError):
    """Some of many things were done and are kept, others failed; the message lists these."""


def check(condition: bool, rule: str, value: object, remedy: str = "") -> None:
    """Raise an error about a value unless a condition holds.

    Args:
        condition: The outcome of the test of the value.
        rule: The rule that the value must keep, as "x must be .."; the message continues with the value.
        value: The value that was received.
        remedy: A sentence on what to do, where the rule does not say it already.

    Raises:
        ValueError: If `condition` is False.
    """
    if not condition:
        raise ValueError(f"{rule}, but got {value!r}." + (f" {remedy}" if remedy else ""))


def refuse_empty(argv: Sequence[str]) -> None:
    """Refuse arguments of a command that are empty, as those of a variable without a value are.

    Each would be taken for one that was not given, or for the folder that one is in.

    Args:
        argv: The arguments.

    Raises:
        ValueError: One of them is empty; the message names what comes before it.
    """
    for before, text in zip(["", *argv], argv):
        bare = re.fullmatch(r"(--[\w-]+)=", text)
        if bare or not text:
            where = bare[1] if bare else before
            raise ValueError(
                f"Arguments must not be empty, but got '' {f'after {where}' if where else 'first'}. Leave it out, or "
                "give a value; a variable may have none."
            )
