"""The configuration of the data and of their scoring, by itself."""

import pytest

from pgpc.data.config import DataConfig, EvaluationConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"source_size": (1280, 16)},
            "data.source_size must be (width, height), each at least 32, but got (1280, 16).",
        ),
        ({"target_size": (64,)}, "data.target_size must be (width, height), each at least 32, but got (64,)."),
        (
            {"crop": 100},
            "data.crop must be a positive multiple of 32 (the encoder's coarsest stride), or None, but got 100.",
        ),
        (
            {"crop": None},
            "data.crop=None needs data.fit='exact', since the whole images of a batch must have one size, "
            "but got 'inside'.",
        ),
        (
            {"target_margins": (-1, 0, 0, 0)},
            "data.target_margins must be (top, bottom, left, right), each >= 0, but got (-1, 0, 0, 0).",
        ),
        (
            {"target_margins": (0, 0, 512, 512)},
            "data.target_margins must be (top, bottom, left, right), and leave pixels of data.target_size, "
            "but got (0, 0, 512, 512).",
        ),
        ({"crop_max_share": 0.0}, "data.crop_max_share must lie in (0, 1], but got 0.0."),
        ({"rare_class_temperature": 0.0}, "data.rare_class_temperature must be > 0, but got 0.0."),
        ({"loader_workers": -1}, "data.loader_workers must be >= 0, or None, but got -1."),
    ],
)
def test_bad_values_of_the_data_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        DataConfig(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 48}, "evaluation.window must be a positive multiple of 32, or None, but got 48."),
        ({"window_stride": 0}, "evaluation.window_stride must be >= 1, but got 0."),
        (
            {"window": 256},
            "evaluation.window_stride must lie in [1, evaluation.window] (256), or pixels are left out, but got 512.",
        ),
        ({"window_batch": 0}, "evaluation.window_batch must be >= 1, but got 0."),
    ],
)
def test_bad_values_of_scoring_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        EvaluationConfig(**values)
    assert str(error.value) == message
