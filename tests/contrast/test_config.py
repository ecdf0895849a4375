"""The configuration of the contrast, by itself."""

import subprocess
import sys

import pytest

from pgpc.contrast.config import ContrastConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r": 0}, "contrast.r must be >= 1, but got 0. The paper uses 4."),
        ({"eta": 0.0}, "contrast.eta must lie in (0, 1], but got 0.0. The paper uses 0.5."),
        ({"weight": -0.1}, "contrast.weight must be finite and >= 0, but got -0.1."),
        ({"temperature": 0.0}, "contrast.temperature must be finite and > 0, but got 0.0."),
        ({"pool": 0}, "contrast.pool must be >= 1, but got 0."),
        ({"bank_size": 0}, "contrast.bank_size must be >= 1, but got 0."),
        (
            {"bank_size": 2**18 + 1},
            "contrast.bank_size must be at most 262144, up to which prototypes are exact, but got 262145.",
        ),
        ({"quota": 5000}, "contrast.quota must not exceed contrast.bank_size (4096), but got 5000."),
        ({"negative": ()}, "contrast.negative must name 'source', 'target' or both, each once, but got ()."),
        (
            {"family": "pixel"},
            "contrast.family must be one of 'hybrid', 'pixel_to_pixel', 'pixel_to_prototype', but got 'pixel'.",
        ),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        ContrastConfig(**values)
    assert str(error.value) == message


def test_importing_it_does_not_load_torch():
    code = "import sys; from pgpc.contrast.config import ContrastConfig; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
