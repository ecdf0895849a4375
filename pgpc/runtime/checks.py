"""The form that every error about a value has: the rule, the value received, the remedy."""

from __future__ import annotations


def check(condition: bool, rule: str, value: object, remedy: str = "") -> None:
    """Refuse a value.

    Args:
        condition: whether the value keeps the rule.
        rule: "x must be .."; the message goes on with the value.
        value: what was received.
        remedy: a sentence on what to do, where the rule does not say it already.

    Raises:
        ValueError: `condition` is False.
    """
    if not condition:
        raise ValueError(f"{rule}, but got {value!r}." + (f" {remedy}" if remedy else ""))
