"""The limit that every reader of pictures keeps."""

from __future__ import annotations

import pytest

from pgpc.data.image_limits import MAX_PIXELS, MAX_RATIO, PictureError, check_ratio, check_size


def test_the_limit_itself_is_allowed_and_one_row_more_is_not() -> None:
    check_size(2**14, 2**13)
    check_size(1, MAX_PIXELS)
    with pytest.raises(PictureError, match=rf"at most {MAX_PIXELS} pixels, but it is 16384 x 8193\. Scale it down"):
        check_size(2**14, 2**13 + 1)


def test_sides_that_differ_too_much() -> None:
    check_ratio(3 * MAX_RATIO, 3)
    check_ratio(1, MAX_RATIO)
    for size in ((10_000, 3), (3, 3 * MAX_RATIO + 1)):
        with pytest.raises(PictureError, match=f"at most 32 times as long .* it is {size[0]} x {size[1]}. Cut it into"):
            check_ratio(*size)


def test_its_error_is_one_of_a_value() -> None:
    assert issubclass(PictureError, ValueError)  # which the commands show as one line
