"""Rare class sampling: published probabilities, pools, and what is drawn."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from pgpc.data.rare_class import class_probabilities, pools, rare_classes

# Pixel counts of 12 images (class: count), and the probabilities that the public implementation gives.
STATISTICS = [
    {1: 76, 2: 7956, 5: 61, 18: 27693, 0: 64, 17: 9542, 6: 825, 10: 25},
    {12: 6048, 18: 54622, 13: 39517, 5: 72, 1: 280, 10: 11, 15: 36, 17: 5438},
    {17: 6098, 2: 1440, 5: 3, 8: 78932, 6: 947, 18: 47126, 10: 68, 9: 440524},
    {1: 556, 6: 216, 17: 974, 2: 4136, 7: 1156, 8: 19870, 10: 13, 0: 77},
    {3: 2239, 0: 87, 2: 7181, 14: 610951, 17: 7657, 9: 747427, 10: 60, 4: 499819},
    {2: 6370, 15: 86, 0: 86, 3: 18079, 4: 3948, 12: 1849, 13: 34612, 7: 9400},
    {15: 41, 11: 629, 17: 6543, 1: 46, 8: 95082, 14: 15403, 3: 49443, 16: 96},
    {7: 6606, 15: 59, 2: 3579, 4: 940572, 3: 4253, 14: 556041, 8: 57080, 17: 6573},
    {5: 41, 4: 599589, 13: 1949, 1: 364, 6: 606, 3: 55346, 18: 44862, 14: 426351},
    {14: 561760, 5: 62, 4: 20319, 6: 79, 15: 44, 13: 46669, 1: 401, 17: 1659},
    {10: 51, 12: 7575, 18: 16403, 9: 625606, 13: 53096, 3: 4344, 7: 8198, 17: 1670},
    {11: 696, 5: 40, 3: 42191, 1: 967, 9: 754879, 13: 83331, 17: 2598, 0: 87},
]
PUBLISHED = {
    0.01: [
        0.0910925418138504,
        0.08846117556095123,
        0.061825625598430634,
        0.009624331258237362,
        3.021399048921264e-13,
        0.09123512357473373,
        0.08848075568675995,
        0.06616949290037155,
        0.0036798659712076187,
        4.740988460174536e-16,
        0.0912943109869957,
        0.09002097696065903,
        0.07510295510292053,
        0.0033125821501016617,
        7.747941150422141e-14,
        0.0912497416138649,
        0.0914490669965744,
        0.049039993435144424,
        0.007961460389196873,
    ],
    0.5: [
        0.057366807013750076,
        0.05733318254351616,
        0.056923869997262955,
        0.054845180362463,
        0.03381233662366867,
        0.057368602603673935,
        0.057333435863256454,
        0.057001225650310516,
        0.053800664842128754,
        0.029715867713093758,
        0.057369351387023926,
        0.05735323205590248,
        0.05714578181505203,
        0.053687650710344315,
        0.03290446102619171,
        0.05736878886818886,
        0.057371292263269424,
        0.056660715490579605,
        0.05463750660419464,
    ],
}


def _published_counts() -> np.ndarray:
    counts = np.zeros((len(STATISTICS), 19), dtype=np.int64)
    for row, statistics in zip(counts, STATISTICS):
        row[list(statistics)] = list(statistics.values())
    return counts


@pytest.mark.parametrize("temperature", PUBLISHED)
def test_probabilities_are_the_published_ones(temperature: float) -> None:
    probabilities = class_probabilities(_published_counts(), temperature)
    np.testing.assert_allclose(probabilities, PUBLISHED[temperature], rtol=0, atol=1e-9)


def test_probabilities_by_hand() -> None:
    # f = (3/4, 1/4, 0) and T = 1/2: logits 1/2 and 3/2, so the odds are e.
    probabilities = class_probabilities(np.array([[1, 1, 0], [2, 0, 0]]), 0.5)
    np.testing.assert_allclose(probabilities, [1 / (1 + np.e), np.e / (1 + np.e), 0], rtol=1e-6)


def test_classes_that_cannot_be_drawn_give_their_probability_away_in_proportion() -> None:
    counts = np.array([[50, 30, 15, 5]])
    every = class_probabilities(counts, 0.3)
    some = class_probabilities(counts, 0.3, np.array([True, False, True, False]))
    np.testing.assert_allclose(some, np.where([1, 0, 1, 0], every, 0) / (every[0] + every[2]), rtol=1e-6)


def test_tiny_temperatures_neither_overflow_nor_vanish() -> None:
    # The class that is drawable is e^2000 times less probable than the one that is not.
    probabilities = class_probabilities(np.array([[99, 1]]), 1e-4, np.array([True, False]))
    assert probabilities.tolist() == [1, 0]


def test_pools_hold_images_with_more_than_the_threshold() -> None:
    counts = np.array([[10, 0], [11, 0], [9, 12]])
    assert [pool.tolist() for pool in pools(counts, 10)] == [[1], [2]]


def test_classes_and_images_are_drawn_with_their_probabilities() -> None:
    counts = np.array([[600, 0, 40], [0, 300, 40], [400, 0, 0]])
    prepared = rare_classes(counts, 0.5, 10, ("a", "b", "c"))
    rng = np.random.default_rng(0)
    draws = np.array([prepared.draw(rng) for _ in range(6000)])
    frequency = np.bincount(draws[:, 0], minlength=3) / len(draws)
    # Four standard deviations of a share in 6000 draws are below 0.026.
    np.testing.assert_allclose(frequency, prepared.probabilities, atol=0.026)
    images_of_c = draws[draws[:, 0] == 2, 1]
    np.testing.assert_allclose(np.bincount(images_of_c, minlength=3) / len(images_of_c), [0.5, 0.5, 0], atol=0.05)
    assert set(draws[draws[:, 0] == 1, 1]) == {1}


def test_a_class_with_an_empty_pool_is_warned_about_and_never_drawn(caplog: pytest.LogCaptureFixture) -> None:
    counts = np.array([[600, 5, 40, 0], [300, 5, 0, 0]])
    with caplog.at_level(logging.WARNING):
        prepared = rare_classes(counts, 0.5, 10, ("road", "rider", "car", "train"))
    (record,) = caplog.records
    assert "pixels of rider;" in record.getMessage()  # a class that does not occur at all is no surprise
    assert prepared.probabilities[1] == prepared.probabilities[3] == 0
    assert prepared.probabilities.sum() == pytest.approx(1)
    rng = np.random.default_rng(0)
    assert {prepared.draw(rng)[0] for _ in range(200)} == {0, 2}


def test_nothing_to_draw_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"min_pixels=600 .* of one class is 600\. Lower"):
        rare_classes(np.array([[600, 5]]), 0.01, 600, ("a", "b"))
    with pytest.raises(ValueError, match="no class has any"):
        class_probabilities(np.zeros((3, 2), dtype=np.int64), 0.01)
