"""Logits at the stride of the output."""

import pytest
import torch

from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.criteria.stride_logits import stride_logits
from tests.helpers.models import Counts, Paints, windows
from tests.helpers.networks import build, random_images


def test_of_a_whole_image_they_are_the_networks_own():
    image = torch.randn(1, 3, 32, 40)
    assert torch.equal(stride_logits(Paints(), image, EvaluationConfig()), image[0, :, ::4, ::4])


def test_of_half_precision_they_are_float32():
    assert stride_logits(Paints(), torch.zeros(1, 3, 32, 32).bfloat16(), EvaluationConfig()).dtype == torch.float32


@pytest.mark.parametrize("align_corners", [False, True])
def test_of_windows_they_are_the_mean_brought_back(align_corners):
    """The first class has the mean of the window; windows do not overlap."""
    image = torch.tensor([0.0, 3.0]).repeat_interleave(32).expand(1, 3, 32, 64)
    model = Counts(1.0)
    model.align_corners = align_corners
    found = stride_logits(model, image, windows(32, 32))
    assert found.shape == (2, 8, 16)
    assert torch.allclose(found[0, :, :7], torch.zeros(8, 7)) and torch.allclose(
        found[0, :, 9:], torch.full((8, 7), 3.0)
    )
    assert torch.allclose(found[1], torch.ones(8, 16))


def test_of_real_networks_they_have_the_classifiers_size():
    images = random_images(64, 96)[:1]
    network = build().eval()
    with torch.inference_mode():
        assert stride_logits(network, images, EvaluationConfig()).shape == (19, 16, 24)
        assert torch.equal(stride_logits(network, images, EvaluationConfig()), network(images)[0])
