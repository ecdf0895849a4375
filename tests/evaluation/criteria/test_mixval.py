"""MixVal."""

import numpy as np
import pytest
import torch

from pgpc.evaluation.criteria.mixval import MixVal, as_large, mixture
from tests.helpers import criteria as plain

CPU = torch.device("cpu")


def measured(triples):
    meter = MixVal(CPU)
    for triple in triples:
        meter.add(*map(torch.as_tensor, triple))
    return meter.value()


def test_by_hand():
    """Both have the same class at two pixels, of which the mixture keeps one; of the other three it keeps two."""
    assert measured([([[0, 1, 2, 2, 0]], [[0, 1, 0, 1, 1]], [[0, 2, 2, 2, 1]])]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_it_is_the_plain_one_with_pixels_of_all_mixtures_in_one():
    rng = np.random.default_rng(2)
    triples = [tuple(rng.integers(0, 3, (3, *size))) for size in ((3, 4), (10, 2), (1, 1))]
    assert measured(triples) == pytest.approx(plain.mixval(triples))


def test_limits():
    one, two = np.zeros((2, 2), dtype=np.int64), np.ones((2, 2), dtype=np.int64)
    assert measured([(one, one, one)]) == 0.5, "one class everywhere: nothing to tell apart"
    assert measured([(one, two, one)]) == 0.5, "no pixel in common"
    assert measured([(one, two, two)]) == 0
    half = np.array([[0, 0], [1, 1]])
    assert measured([(one, half, one)]) == 1, "the first image's class wins everywhere"
    assert measured([]) is None


def test_a_mixture_has_more_of_the_first():
    first, second = torch.full((1, 3, 4, 6), 1.0), torch.full((1, 3, 8, 8), -1.0)
    assert torch.allclose(mixture(first, second), torch.full((1, 3, 4, 6), 0.1))
    logits = torch.randn(5, 8, 8)
    assert as_large(logits, first).shape == (5, 4, 6)
    assert as_large(logits, logits) is logits
