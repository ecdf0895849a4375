"""The wording of errors about values."""

from __future__ import annotations

import pytest

from pgpc.runtime.checks import check


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
