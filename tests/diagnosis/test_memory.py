import dataclasses

import pytest

from pgpc.contrast.config import ContrastConfig
from pgpc.diagnosis.memory import age_of

CONFIG = ContrastConfig(start=100, fill=40)


@pytest.mark.parametrize(
    ("rows", "per_step", "iteration", "expected"),
    [
        (4096, 256, 200, (16, 0)),  # turned over every 16 iterations
        (4096, 16, 200, (140, 60.9375)),  # slower than since it began: 100 iterations brought 1600 of the rows
        (50, 0.5, 110, (50, 90)),
        (0, 3, 200, (None, None)),
        (7, 0, 200, (None, None)),
        (200, 10, 90, (20, 100)),  # before the start all rows are of the untrained head
    ],
)
def test_age_is_that_of_a_queue_with_a_steady_rate(rows, per_step, iteration, expected):
    assert age_of(rows, per_step, CONFIG, iteration) == expected


def test_a_bank_that_was_cleared_at_the_start_is_no_older_and_has_no_stale_row():
    cleared = dataclasses.replace(CONFIG, clear_at_start=True)
    assert age_of(4096, 16, cleared, 200) == (100, 0)
    assert age_of(400, 16, cleared, 90) == (25, 100)
