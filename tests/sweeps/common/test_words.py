"""How times, numbers and lists are written."""

from __future__ import annotations

import math

import pytest

from pgpc.config import Config, flatten
from sweeps.common import words


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3599, "59:59"), (3661.5, "1:01:01")]
)
def test_times(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_times_are_read(text: str, expected: float) -> None:
    assert words.seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "", "-1", "2d", "1:30"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        words.seconds(text)


def test_numbers_and_nothing() -> None:
    assert [words.number(value) for value in (1.234, -1.0, None, math.nan)] == ["1.23", "-1.00", "-", "-"]
    assert words.number(0.5, "+.1f") == "+0.5" and words.number(3, "d") == "3"
    found = [words.param_text(value) for value in (0.123456, 1e-7, 256, True, "hybrid", None, math.nan)]
    assert found == ["0.123", "1e-07", "256", "True", "hybrid", "-", "-"]


def test_counts_agree_with_their_noun() -> None:
    assert [words.count(n, "trial") for n in (0, 1, 2, 1240)] == ["0 trials", "1 trial", "2 trials", "1,240 trials"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0001, "less than 1 %"), (0.005, "less than 1 %"), (0.0051, "1 %"), (0.376, "38 %"), (1, "100 %")],
)
def test_a_share_that_is_not_nothing_is_not_written_as_nothing(share: float, text: str) -> None:
    assert words.percent(share) == text


def test_lists() -> None:
    assert [words.listed(list(w)) for w in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    assert words.short("contrast.eta") == "eta" and words.short("seed") == "seed"


def test_a_short_name_tells_a_parameter_from_all_others() -> None:
    names = [words.short(key) for key in ("contrast.temperature", "proca.temperature", "data.streets.seed", "seed")]
    assert names == ["contrast.temperature", "proca.temperature", "streets.seed", "seed"]
    every = [words.short(key) for key in flatten(Config())]
    assert len(set(every)) == len(every)
