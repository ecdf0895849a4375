"""Soft neighborhood density and the nuclear norm."""

import math

import numpy as np
import pytest
import torch

from pgpc.evaluation.criteria.neighborhoods import PIXELS, Neighborhoods, draw_positions, neighborhood_entropies
from tests.helpers import criteria as plain

CPU = torch.device("cpu")


def generator(image):
    return np.random.default_rng(image)


def measured(images):
    meter = Neighborhoods(len(images[0]), CPU)
    for i, logits in enumerate(images):
        meter.add(torch.as_tensor(logits), generator(i))
    return meter.values()


def test_entropies_by_hand():
    """Of (1, 0), (1, 0), (0, 1) the first has similarities 20 and 0 to the others; the last has 0 and 0."""
    found = neighborhood_entropies(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    q = 1 / (1 + math.exp(-20))
    first = -q * math.log(q) - (1 - q) * math.log(1 - q)
    assert found.tolist() == pytest.approx([first, first, math.log(2)], abs=1e-6)


def test_the_nuclear_norm_by_hand():
    """P = ((3/4, 1/4), (1/4, 3/4)) has singular values 1 and 1/2; the largest possible sum is 2."""
    logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()[:, None]
    assert measured([logits])["bnm"] == pytest.approx(0.75)


def test_values_are_the_plain_ones_of_the_drawn_pixels():
    rng = np.random.default_rng(5)
    images = [(2 * rng.standard_normal((7, *size))).astype(np.float32) for size in ((20, 30), (3, 5), (40, 9))]
    samples = [plain.softmax(logits)[draw_positions(logits[0].size, generator(i))] for i, logits in enumerate(images)]
    assert [len(sample) for sample in samples] == [PIXELS, 15, PIXELS]
    values = measured(images)
    assert values["snd"] == pytest.approx(plain.snd(samples), rel=1e-5)
    assert values["bnm"] == pytest.approx(plain.bnm(samples), rel=1e-5)


def test_fewer_pixels_than_classes():
    logits = np.random.default_rng(0).standard_normal((19, 1, 5)).astype(np.float32)
    assert measured([logits])["bnm"] == pytest.approx(plain.bnm([plain.softmax(logits)]), rel=1e-5)


def test_pixels_are_drawn_once_each_and_by_the_generator_alone():
    drawn = draw_positions(5000, generator(1))
    assert len(set(drawn.tolist())) == PIXELS and drawn.max() < 5000
    assert (drawn == draw_positions(5000, generator(1))).all()
    assert (drawn != draw_positions(5000, generator(2))).any()
    assert sorted(draw_positions(7, generator(0)).tolist()) == list(range(7))


def sure(ids):
    return 1000 * torch.nn.functional.one_hot(torch.as_tensor(ids), 4).float().permute(2, 0, 1)


@pytest.mark.parametrize(
    ("logits", "snd", "bnm"),
    [
        pytest.param(torch.zeros(4, 8, 8), math.log(63), 1 / 4, id="uniform"),
        pytest.param(sure(np.full((8, 8), 3)), math.log(63), 1 / 2, id="one class"),
        pytest.param(sure(np.arange(64).reshape(8, 8) % 4), math.log(15), 1, id="sure of all classes"),
    ],
)
def test_limits(logits, snd, bnm):
    """A network that is sure of four classes has 15 others like it around each of 64 pixels."""
    assert measured([logits]) == pytest.approx({"snd": snd, "bnm": bnm}, abs=1e-5)


def test_a_pixel_by_itself_has_no_neighborhood():
    assert set(measured([torch.zeros(3, 1, 1)])) == {"bnm"}
    assert Neighborhoods(3, CPU).values() == {}
