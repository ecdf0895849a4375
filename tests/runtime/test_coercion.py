"""Values of a config from text and from JSON."""

from __future__ import annotations

from typing import Literal

import pytest

from pgpc.runtime.coercion import as_setting, coerce


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("0.4", float, 0.4),
        (1, float, 1.0),
        ("5", int, 5),
        (3.0, int, 3),
        ("False", bool, False),
        ("text", str, "text"),
        ("none", int | None, None),
        (None, int | None, None),
        ("7", int | None, 7),
        ("a", Literal["a", "b"], "a"),
        ("16", Literal[8, 16], 16),
        (8, Literal[8, 16], 8),
        ("960, 540", tuple[int, int], (960, 540)),
        ([1, 2], tuple[int, int], (1, 2)),
        ("a", tuple[Literal["a", "b"], ...], ("a",)),
    ],
)
def test_what_fits_is_converted(value, kind, expected):
    found = coerce(value, kind, "key")
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("much", float, "key must be a number, but got 'much'."),
        ("nan", float, "key must be a number, but got 'nan'."),
        (True, float, "key must be a number, but got True."),
        (3.5, int, "key must be a whole number, but got 3.5."),
        (True, int, "key must be a whole number, but got True."),
        ("inf", int, "key must be a whole number, but got 'inf'."),
        ("yes", bool, "key must be true or false, but got 'yes'."),
        (1, str, "key must be text, but got 1."),
        ("c", Literal["a", "b"], "key must be one of 'a', 'b', but got 'c'."),
        ("1", tuple[int, int], "key must have 2 items, but got '1'."),
        (1, tuple[int, int], "key must be a list (on the command line: a,b), but got 1."),
    ],
)
def test_what_does_not_fit_is_refused(value, kind, message):
    with pytest.raises(ValueError) as error:
        coerce(value, kind, "key")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("value", "kind"), [(0.1, float), (True, bool), (None, int | None), ((1, 2), tuple[int, int]), ("a", str)]
)
def test_a_setting_is_read_back(value, kind):
    assert coerce(as_setting(value), kind, "key") == value
