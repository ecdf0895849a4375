"""What is known of a configuration key, said once, at the field that holds it.

A field of a configuration is made with :func:`key`, which keeps what it is told as the field's metadata. The check of
its range (:func:`check_fields`), its part of the class's documentation (:func:`documented`) and every list of keys are
derived from that, so that a new key needs to be written down in one place only.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pgpc.runtime.checks import all_at_once, check, noted

T = TypeVar("T")

_INFO = "info"
"""Name of the entry of a field's metadata that holds its :class:`FieldInfo`."""


class Phase(enum.Enum):
    """When a key first influences what a run learns."""

    NEVER = "never"
    START = "start"
    CONTRAST = "contrast"
    TRUNK_LENGTH = "trunk length"
    CONDITIONAL = "conditional"

    @property
    def meaning(self) -> str:
        """The phase in words that follow "first acts"."""
        return _MEANINGS[self]


_MEANINGS = {
    Phase.NEVER: "at no time, since what is learned does not depend on it",
    Phase.START: "from the first iteration on, or counts as if it did",
    Phase.CONTRAST: "when the memory bank begins to fill, contrast.fill iterations before contrast.start",
    Phase.TRUNK_LENGTH: "when the memory bank begins to fill, and says when that is",
    Phase.CONDITIONAL: "at a time that depends on other keys",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldInfo:
    """All that is known of one key.

    Attributes:
        doc: What the key means, in whole sentences or noun phrases.
        phase: When it first influences what a run learns.
        acts: The same in words, where `phase` alone does not tell it.
        low: Smallest value, of each item where the value is a tuple; None where there is none.
        low_open: Whether `low` itself is excluded.
        high: Largest value; None where there is none. Excluded infinity means that the value must be finite.
        high_open: Whether `high` itself is excluded.
        multiple_of: What the value must be a multiple of; None for no such rule.
        unit: Unit of the value, in words; empty for pure numbers.
        adjustable: Whether a run may differ in it from the run it was forked from.
        place: Whether it names a place, whose contents count and which may move.
        reported: Of a key that never influences what is learned: whether the reports of a run depend on it.
        hyperparameter: Whether TensorBoard shows it among a run's hyperparameters.
        source: Equation, table or section that it is from.
        remedy: Sentence that ends the message about a value out of range.
        rule: Wording of the rule, from "must" on, where that of the bounds does not do; may name {low}, {high},
            {interval} and {multiple_of}.
        high_rule: The same for values that are too large.
        key: Dotted key.
        kind: Type of the value, as annotated.
        default: Default value.
        optional: Whether None is a value.
        choices: The values of a ``Literal``, or those that the items of a tuple of such have; empty without a choice.
        length: How many items the tuple has; None for what is no tuple, or one of any length.
    """

    doc: str
    phase: Phase
    acts: str = ""
    low: float | None = None
    low_open: bool = False
    high: float | None = None
    high_open: bool = False
    multiple_of: int | None = None
    unit: str = ""
    adjustable: bool = False
    place: bool = False
    reported: bool = False
    hyperparameter: bool = True
    source: str = ""
    remedy: str = ""
    rule: str = ""
    high_rule: str = ""
    key: str = ""
    kind: Any = None
    default: Any = None
    optional: bool = False
    choices: tuple[Any, ...] = ()
    length: int | None = None

    def of(self, key: str, kind: Any, default: Any) -> FieldInfo:
        """Return the same, completed with what the class says of the field: its name, type and default."""
        args = typing.get_args(kind)
        choices = (typing.get_args(k) for k in (kind, *args) if typing.get_origin(k) is Literal)
        return dataclasses.replace(
            self,
            key=key,
            kind=kind,
            default=default,
            optional=type(None) in args,
            choices=next(choices, ()),
            length=len(args) if typing.get_origin(kind) is tuple and Ellipsis not in args else None,
        )

    @property
    def interval(self) -> str:
        """The bounds in mathematical notation, such as ``"(0, 1]"``; empty without bounds."""
        if self.low is None and self.high is None:
            return ""
        low = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low}"
        high = "inf]" if self.high is None else f"{self.high}{')' if self.high_open else ']'}"
        return f"{low}, {high}"

    @property
    def range(self) -> str:
        """What values are taken beside None, in words; empty where the type says all."""
        if self.choices:
            return ", ".join(map(repr, self.choices))
        words = self.interval
        if self.low is not None and (self.high is None or self.high == math.inf):
            words = f"{'>' if self.low_open else '>='} {self.low}" + ("" if self.high is None else ", finite")
        if self.multiple_of is not None:
            words = f"multiples of {self.multiple_of}, {words}"
        return words

    def check(self, value: Any) -> None:
        """Refuse a value that is out of range.

        Args:
            value: A value of the field's type.

        Raises:
            ValueError: The value is out of range; the message names the key, the rule, the value and the remedy.
        """
        if value is None and self.optional:
            return
        items = value if isinstance(value, tuple) else (value,)
        if self.choices and not all(item in self.choices for item in items):
            check(False, f"{self.key} must be one of {self.range}", value)
        fits = self.length is None or len(items) == self.length
        if self.low is not None:
            fits = fits and all(item > self.low if self.low_open else item >= self.low for item in items)
        if self.multiple_of is not None:
            fits = fits and all(item % self.multiple_of == 0 for item in items)
        if not fits:
            check(False, f"{self.key} {self._wording(self.rule)}", value, self.remedy)
        elif self.high is not None and not all(
            item < self.high if self.high_open else item <= self.high for item in items
        ):
            check(False, f"{self.key} {self._wording(self.high_rule or self.rule)}", value, self.remedy)

    def _wording(self, rule: str) -> str:
        """Return the rule from "must" on."""
        if rule:
            return rule.format(low=self.low, high=self.high, interval=self.interval, multiple_of=self.multiple_of)
        if self.multiple_of is not None and self.low == self.multiple_of:
            words = f"must be a positive multiple of {self.multiple_of}"
        elif self.multiple_of is not None:
            words = f"must be a multiple of {self.multiple_of}, and at least {self.low}"
        elif self.high is None or self.high == math.inf or self.high_rule:
            finite = "finite and " if self.high == math.inf else ""
            words = f"must be {finite}{'>' if self.low_open else '>='} {self.low}"
        else:
            words = f"must lie in {self.interval}"
        return f"{words}, or None" if self.optional else words


def key(
    default: T,
    *,
    doc: str,
    phase: Phase,
    acts: str = "",
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    multiple_of: int | None = None,
    unit: str = "",
    adjustable: bool = False,
    place: bool = False,
    reported: bool = False,
    hyperparameter: bool = True,
    source: str = "",
    remedy: str = "",
    rule: str = "",
    high_rule: str = "",
) -> T:
    """Make a dataclass field that holds a key of the configuration.

    Args:
        default: Default value.
        doc: See :class:`FieldInfo`, also for what is not named here.
        phase: When the key first influences what a run learns.
        acts: The same in words, where `phase` alone does not tell it.
        low: Smallest value that is allowed.
        above: Largest value that is too small; instead of `low`.
        high: Largest value that is allowed.
        below: Smallest value that is too large; instead of `high`. ``math.inf`` allows every finite value.
        multiple_of: What the value must be a multiple of.
        unit: Unit of the value, in words.
        adjustable: Whether a run may differ in it from the run it was forked from.
        place: Whether it names a place.
        reported: Whether reports depend on it, though what is learned does not.
        hyperparameter: Whether TensorBoard shows it among the hyperparameters.
        source: Equation, table or section that it is from.
        remedy: Sentence that ends the message about a value out of range.
        rule: Wording of the rule, from "must" on.
        high_rule: The same for values that are too large.

    Returns:
        The field; to a type checker, the default.
    """
    info = FieldInfo(
        doc=doc,
        phase=phase,
        acts=acts,
        low=low if above is None else above,
        low_open=above is not None,
        high=high if below is None else below,
        high_open=below is not None,
        multiple_of=multiple_of,
        unit=unit,
        adjustable=adjustable,
        place=place,
        reported=reported,
        hyperparameter=hyperparameter,
        source=source,
        remedy=remedy,
        rule=rule,
        high_rule=high_rule,
    )
    return field(default=default, metadata={_INFO: info})


@functools.cache
def type_hints(cls: Any) -> Mapping[str, Any]:
    """Return the types of a class's fields; kept, since finding them evaluates the text of every annotation."""
    return typing.get_type_hints(cls)


@functools.cache
def fields_of(cls: Any, prefix: str = "") -> Mapping[str, FieldInfo]:
    """Return what is known of a configuration class's own keys.

    Args:
        cls: The dataclass.
        prefix: Dotted key of the group that the class is; empty for the root.

    Returns:
        By name of the field. Fields that are groups themselves, and so not made with :func:`key`, are left out.
    """
    hints = type_hints(cls)
    return {
        f.name: f.metadata[_INFO].of(f"{prefix}.{f.name}".lstrip("."), hints[f.name], f.default)
        for f in dataclasses.fields(cls)
        if _INFO in f.metadata
    }


def check_fields(config: Any, prefix: str = "") -> bool:
    """Refuse a configuration with values that are out of their fields' ranges.

    Args:
        config: Instance of a configuration class.
        prefix: Dotted key of the group that it is; empty for the root.

    Returns:
        Whether each is in its range, which checks of values against each other rely on. It can be False only within
        :func:`pgpc.runtime.checks.all_at_once`, where errors are noted.

    Raises:
        ValueError: A value is out of range. The message lists all that are.
    """
    config_class = typing.cast(Any, type(config))  # a type checker takes no class for hashable
    fine = False
    with noted():
        with all_at_once():
            for name, info in fields_of(config_class, prefix).items():
                info.check(getattr(config, name))
        fine = True
    return fine


def documented(cls: type[T]) -> type[T]:
    """Complete a configuration class's documentation with its fields; a decorator, outside of ``@dataclass``."""
    config_class = typing.cast(Any, cls)  # a dataclass, which no type says
    infos = fields_of(config_class)
    lines = []
    for f in dataclasses.fields(config_class):
        if f.name in infos:
            info = infos[f.name]
            details = "; ".join(text for text in (info.range, info.unit, info.source) if text)
            text = f"{f.name}: {info.doc}" + (f" ({details})" if details else "")
        else:
            group = type_hints(config_class)[f.name]
            text = f"{f.name}: {(group.__doc__ or '').partition(chr(10))[0]} See :class:`{group.__name__}`."
        lines += textwrap.wrap(text, 112, initial_indent="    ", subsequent_indent="        ")
    listing = "\n".join(lines)
    raises = "    ValueError: A value is out of its range, or does not go together with another."
    cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nAttributes:\n{listing}\n\nRaises:\n{raises}\n"
    return cls


def type_in_words(kind: Any) -> str:
    """Return the name of a field's type as one who has never programmed would say it.

    Args:
        kind: The type, as annotated.

    Returns:
        For example "whole number", "2 numbers", "text or none".
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "choice"
    if origin in (typing.Union, types.UnionType):
        return f"{type_in_words(next(a for a in args if a is not type(None)))} or none"
    if origin is tuple:
        item = type_in_words(args[0])
        return f"list of {item}s" if Ellipsis in args else f"{len(args)} {item}s"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[kind]
