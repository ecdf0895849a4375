"""Agreement of two predictions."""

import math

import numpy as np
import pytest
import torch

from pgpc.classes import classes_from_json
from pgpc.evaluation.criteria.agreement import Agreement
from tests.helpers import criteria as plain

CPU = torch.device("cpu")


def measured(pairs, num_classes):
    meter = Agreement(classes_from_json(None, num_classes), CPU)
    for one, other in pairs:
        meter.add(torch.as_tensor(one), torch.as_tensor(other))
    return meter.value()


def test_by_hand():
    """Class 0: 1 of 3 pixels, class 1: 1 of 2, class 2: 0 of 1, class 3: neither finds it."""
    found = measured([([[0, 0], [1, 0]], [[0, 1], [1, 2]])], 4)
    assert found == pytest.approx(100 * (1 / 3 + 1 / 2 + 0) / 3)


def test_it_is_the_plain_one_over_all_images_and_the_same_both_ways():
    rng = np.random.default_rng(1)
    pairs = [tuple(rng.integers(0, 5, (2, *size))) for size in ((3, 4), (10, 2))]
    found = measured(pairs, 19)
    assert found == pytest.approx(plain.agreement(pairs))
    assert measured([(other, one) for one, other in pairs], 19) == pytest.approx(found)


def test_limits():
    """Collapse agrees with itself; classes that never meet do not agree at all."""
    one, two = np.zeros((2, 2), dtype=np.int64), np.ones((2, 2), dtype=np.int64)
    assert measured([(one, one)], 3) == 100
    assert measured([(one, two)], 3) == 0
    assert math.isnan(measured([], 3))
