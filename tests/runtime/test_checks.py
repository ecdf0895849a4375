"""The wording of errors about values."""

from __future__ import annotations

import pytest

from pgpc.runtime.checks import check, refuse_empty


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
