"""The wording of errors about values: the rule, the value received, and the remedy; one at a time, or all at once."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

_noted: ContextVar[list[ValueError] | None] = ContextVar("noted", default=None)
"""What :func:`all_at_once` has noted so far; None outside of it."""


class PartlyFailed(ValueError):
    """Some of many things were done and are kept, others failed; the message lists these."""


def check(condition: bool, rule: str, value: object, remedy: str = "") -> None:
    """Raise an error about a value unless a condition holds; within :func:`all_at_once` it is noted.

    Args:
        condition: The condition.
        rule: What must hold of the value, with its name: "x must be positive".
        value: The value.
        remedy: A sentence that says what to do, where the rule does not say it already.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        with noted():
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


class SeveralErrors(ValueError):
    """Several things are wrong; the text lists them.

    Attributes:
        errors: One error for each.
    """

    def __init__(self, errors: Sequence[ValueError]) -> None:
        super().__init__(_listed(errors))
        self.errors = tuple(errors)


@contextlib.contextmanager
def all_at_once() -> Iterator[None]:
    """Note what checks within find wrong, and raise one error at the end that lists it all; also a decorator.

    What follows a check that has failed is still run, and must not rely on it; steps that do stand in a :func:`noted`.
    Directly within another one it does nothing.

    Raises:
        ValueError: Something was wrong. One error is raised as it was; several are a :class:`SeveralErrors`, or one of
            their type, if they share another than ``ValueError``.
    """
    if _noted.get() is not None:
        yield
        return
    errors: list[ValueError] = []
    with _collecting(errors, within=errors):
        yield
    if errors:
        raise _together(errors)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Note the error of a step within :func:`all_at_once`, so that the steps behind it are taken, too.

    Within the step itself a check raises its error.
    """
    errors = _noted.get()
    if errors is None:
        yield
        return
    with _collecting(errors, within=None):
        yield


@contextlib.contextmanager
def _collecting(errors: list[ValueError], *, within: list[ValueError] | None) -> Iterator[None]:
    """Add the error that is raised to a list; checks note theirs in `within` meanwhile, or raise where it is None."""
    token = _noted.set(within)
    try:
        yield
    except ValueError as error:
        errors += error.errors if isinstance(error, SeveralErrors) else [error]
    finally:
        _noted.reset(token)


def _together(errors: Sequence[ValueError]) -> ValueError:
    if len({str(error) for error in errors}) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    kind = kinds.pop()
    return kind(_listed(errors)) if not kinds and kind is not ValueError else SeveralErrors(errors)


def _listed(errors: Sequence[ValueError]) -> str:
    texts = list(dict.fromkeys(str(error) for error in errors))
    return "\n".join([f"{len(texts)} things are wrong:", *(f"- {text}" for text in texts)])
