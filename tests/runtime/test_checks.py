"""The wording of errors about values."""

from __future__ import annotations

import pytest

from pgpc.runtime.checks import all_at_once, check, noted, refuse_empty


def test_a_value_that_keeps_the_rule_passes() -> None:
    check(True, "x must be >= 1", 1)


@pytest.mark.parametrize(
    ("remedy", "message"),
    [("", "x must be a name, but got 'a b'."), ("Leave it out.", "x must be a name, but got 'a b'. Leave it out.")],
)
def test_rule_value_and_remedy_stand_in_this_order(remedy: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        check(False, "x must be a name", "a b", remedy)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "where"),
    [(["--out", ""], "after --out"), (["train", "--out=", "x"], "after --out"), (["", "x"], "first"), (["x", ""], "x")],
)
def test_empty_arguments_are_those_of_a_variable_without_a_value(arguments: list[str], where: str) -> None:
    with pytest.raises(ValueError, match=f"must not be empty, but got '' .*{where}. Leave it out"):
        refuse_empty(arguments)
    refuse_empty(["--set", "a=", "--resume", "x", "-"])


def test_all_that_is_wrong_is_told_at_once_and_each_thing_once() -> None:
    with pytest.raises(ValueError) as error, all_at_once():
        check(False, "x must be 1", 2)
        with all_at_once():  # nothing by itself within another
            check(False, "y must be 1", 3, "Set it.")
        check(False, "x must be 1", 2)
        with noted():
            raise ValueError("z is unknown.")
        with noted(), all_at_once():  # within a step another one counts, and its errors are told as the others are
            check(False, "v must be 1", 4)
            check(False, "w must be 1", 5)
        with noted():
            check(False, "u must be 1", 6)
            raise AssertionError("within a step a check raises")
    assert str(error.value).splitlines() == [
        "6 things are wrong:",
        "- x must be 1, but got 2.",
        "- y must be 1, but got 3. Set it.",
        "- z is unknown.",
        "- v must be 1, but got 4.",
        "- w must be 1, but got 5.",
        "- u must be 1, but got 6.",
    ]
    with pytest.raises(ValueError, match=r"^x must be 1, but got 2\.$"):  # and nothing is left behind
        check(False, "x must be 1", 2)


class _Unknown(ValueError):
    pass


def test_errors_of_one_type_are_one_error_of_that_type() -> None:
    with pytest.raises(_Unknown, match="2 things"), all_at_once():
        for name in "ab":
            with noted():
                raise _Unknown(name)
    with pytest.raises(_Unknown, match="^a$"), all_at_once():
        raise _Unknown("a")
    with pytest.raises(OSError, match="disk"), all_at_once():  # another error is not one of a value
        raise OSError("disk")
