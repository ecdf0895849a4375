"""The configuration of the embedded pair."""

import pytest

from pgpc.data.streets.config import StreetsConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_source": 0}, "data.streets.num_source must be >= 1, but got 0. Ask for one image or more."),
        ({"num_val": -2}, "data.streets.num_val must be >= 1, but got -2. Ask for one image or more."),
        ({"height": 100}, "data.streets.height must be a multiple of 32, and at least 64, but got 100."),
        ({"width": 32}, "data.streets.width must be a multiple of 32, and at least 64, but got 32."),
        (
            {"height": 256, "width": 128},
            "data.streets.width must be at least data.streets.height (256), but got 128. "
            "Swap them, or widen the image.",
        ),
        ({"seed": -1}, "data.streets.seed must be >= 0, but got -1."),
    ],
)
def test_errors_state_rule_value_and_remedy(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError) as error:
        StreetsConfig(**change)
    assert str(error.value) == message
