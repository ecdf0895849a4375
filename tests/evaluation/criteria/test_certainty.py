"""Entropy, infomax and Corr-C."""

import math

import numpy as np
import pytest
import torch

from pgpc.evaluation.criteria.certainty import Certainty
from tests.helpers import criteria as plain

CPU = torch.device("cpu")


def measured(images):
    certainty = Certainty(len(images[0]), CPU)
    for logits in images:
        certainty.add(torch.as_tensor(logits))
    return certainty.values()


def logits_of(*pixels):
    """An image in one row, of the probabilities of its pixels."""
    return torch.tensor(pixels).log().T[:, None]


def test_values_by_hand():
    """Of (3/4, 1/4) and (1/4, 3/4) H is 2 log 2 - 3/4 log 3, the mean is even; P^T P = ((5, 3), (3, 5)) / 8."""
    values = measured([logits_of((0.75, 0.25), (0.25, 0.75))])
    share = (2 * math.log(2) - 0.75 * math.log(3)) / math.log(2)
    assert values["entropy"] == pytest.approx(-share)
    assert values["infomax"] == pytest.approx(1 - share)
    assert values["corrc"] == pytest.approx(-10 / math.sqrt(68))


@pytest.mark.parametrize("num_classes", [2, 19])
def test_values_are_the_plain_ones_over_images_of_several_sizes(num_classes):
    rng = np.random.default_rng(num_classes)
    images = [(3 * rng.standard_normal((num_classes, *size))).astype(np.float32) for size in ((4, 7), (1, 1), (9, 3))]
    values = measured(images)
    for name in ("entropy", "infomax", "corrc"):
        assert values[name] == pytest.approx(getattr(plain, name)(images), rel=1e-5), name


def sure(ids, num_classes=4):
    return 1000 * torch.nn.functional.one_hot(torch.tensor(ids), num_classes).float().permute(2, 0, 1)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        pytest.param(torch.zeros(4, 2, 2), {"entropy": -1, "infomax": 0, "corrc": -1}, id="uniform"),
        pytest.param(sure([[2, 2], [2, 2]]), {"entropy": 0, "infomax": 0, "corrc": -1}, id="one class"),
        pytest.param(sure([[0, 1], [2, 3]]), {"entropy": 0, "infomax": 1, "corrc": -2}, id="sure of all classes"),
        pytest.param(
            torch.tensor([0.6, 0.2, 0.1, 0.1]).log()[:, None, None].expand(4, 2, 2),
            {"entropy": -plain.entropy_of([0.6, 0.2, 0.1, 0.1]) / math.log(4), "infomax": 0, "corrc": -1},
            id="constant",
        ),
    ],
)
def test_limits(logits, expected):
    assert measured([logits]) == pytest.approx(expected, abs=1e-6)


def test_without_pixels_there_are_none():
    assert Certainty(3, CPU).values() == {}


def test_asking_changes_nothing():
    certainty = Certainty(2, CPU)
    certainty.add(torch.tensor([[[1.0]], [[2.0]]]))
    assert certainty.values() == certainty.values()
