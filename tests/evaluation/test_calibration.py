import numpy as np
import pytest
import torch

from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.evaluation.calibration import Calibration
from pgpc.evaluation.scoring import evaluate
from tests.helpers.models import Identity


def counted(confidence, right, **options):
    calibration = Calibration(**options)
    calibration.add(torch.tensor(confidence), torch.tensor(right))
    return calibration


def test_error_by_hand():
    """Two bins: of 0.2 and 0.4 one is right, of 0.6, 0.8 and 1 all."""
    calibration = counted([0.2, 0.4, 0.6, 0.8, 1.0], [True, False, True, True, True], num_bins=2)
    assert calibration.pixels.tolist() == [2, 3]
    assert calibration.accuracy.tolist() == [0.5, 1.0]
    assert calibration.confidence.tolist() == pytest.approx([0.3, 0.8])
    assert calibration.ece == pytest.approx(100 * (2 / 5 * 0.2 + 3 / 5 * 0.2))


def test_a_bin_holds_its_upper_edge_and_not_its_lower():
    assert counted([0.5, 0.5 + 1e-6, 1.0, 1e-6], [True] * 4, num_bins=2).pixels.tolist() == [2, 2]


def test_many_batches_are_one():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(999, generator=generator)
    right = torch.rand(999, generator=generator) < confidence
    whole, parts = Calibration(), Calibration()
    whole.add(confidence, right)
    for part in range(0, 999, 111):
        parts.add(confidence[part : part + 111], right[part : part + 111])
    assert parts.pixels.tolist() == whole.pixels.tolist()
    assert parts.ece == pytest.approx(whole.ece, rel=1e-12)
    assert whole.ece < 10, "right as often as it is sure"


def test_equals_a_plain_loop_over_bins():
    rng = np.random.default_rng(0)
    confidence, right = rng.uniform(0.05, 1, 2000), rng.random(2000) < 0.6
    error = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert counted(confidence, right).ece == pytest.approx(100 * error)


def test_nothing_counted_has_no_error(recwarn):
    found = Calibration().as_dict()
    assert (found["ECE"], found["accuracy"], found["bins"][0]["confidence"]) == (None, None, None)
    assert not recwarn.list


def test_scoring_counts_labeled_pixels_with_the_probability_of_the_class_found():
    """Three of four pixels are labeled, two of them right."""
    image = torch.log(torch.tensor([[0.9, 0.7, 0.2, 0.4], [0.1, 0.3, 0.8, 0.6]])).view(1, 2, 1, 4)
    label = np.array([[0, 1, 1, IGNORE_INDEX]], dtype=np.uint8)
    calibration = Calibration(num_bins=10)
    metrics = evaluate(Identity(), [(image, label, "name")], classes_from_json(None, 2), calibration=calibration)
    assert metrics.confusion.tolist() == [[1, 0], [1, 1]]
    assert calibration.pixels.sum() == 3
    assert calibration.ece == pytest.approx(100 * (0.1 + 0.7 + 0.2) / 3, rel=1e-5)
