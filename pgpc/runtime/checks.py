"""The wording that every error about a value has: the rule, the value received, the remedy; and what failed in part."""

from __future__ import annotations


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
