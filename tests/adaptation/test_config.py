"""The configuration of the bases, by itself."""

import pytest

from pgpc.adaptation.config import AdaptationConfig, ProCAConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_weight": -1.0}, "adaptation.target_weight must be finite and >= 0, but got -1.0."),
        ({"ema_decay": 1.0}, "adaptation.ema_decay must lie in [0, 1), but got 1.0."),
        ({"confidence": 0.0}, "adaptation.confidence must lie in (0, 1), but got 0.0."),
        ({"ignore_top": -1}, "adaptation.ignore_top must be >= 0, but got -1."),
        ({"jitter_strength": 0.6}, "adaptation.jitter_strength must lie in [0, 0.5], but got 0.6."),
        ({"feature_distance_share": 0.5}, "adaptation.feature_distance_share must lie in (0.5, 1], but got 0.5."),
        ({"mask_block": 0}, "adaptation.mask_block must be >= 1, but got 0."),
        ({"masked_images": "source"}, "adaptation.masked_images must be one of 'target', 'both', but got 'source'."),
    ],
)
def test_bad_values_of_self_training_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        AdaptationConfig(**values)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_iterations": 0}, "proca.source_iterations must be >= 1, but got 0."),
        (
            {"source_horizon": 10},
            "proca.source_horizon must be at least proca.source_iterations (20000), but got 10.",
        ),
        ({"adapt_lr": 0.0}, "proca.adapt_lr must be finite and > 0, but got 0.0."),
        ({"lovasz_weight": -1.0}, "proca.lovasz_weight must be finite and >= 0, but got -1.0."),
        ({"label_share": 1.5}, "proca.label_share must lie in [0, 1], but got 1.5."),
    ],
)
def test_bad_values_of_proca_are_refused(values, message):
    with pytest.raises(ValueError) as error:
        ProCAConfig(**values)
    assert str(error.value) == message
