import colorsys

import numpy as np
import pytest
import torch

from pgpc.adaptation import mixing
from pgpc.adaptation.mixing import choose_classes, class_mix, color_jitter, gaussian_blur, perturb
from pgpc.classes import IGNORE_INDEX


def rngs(*seeds):
    return [np.random.default_rng(s) for s in seeds]


def test_half_of_the_classes_of_the_whole_batch_rounded_up():
    labels = torch.tensor([[[0, 3]], [[3, IGNORE_INDEX]]])  # three: 0, 3 and "ignore"
    chosen = choose_classes(labels, 5, rngs(*range(200))[:2])
    assert chosen.shape == (2, 6)
    many = torch.cat([choose_classes(labels, 5, rngs(s, s + 1000)) for s in range(200)])
    assert (many.sum(1) == 2).all()
    assert not many[:, [1, 2, 4]].any()  # absent from the batch
    assert many[:, [0, 3, 5]].float().mean(0).tolist() == pytest.approx([2 / 3] * 3, abs=0.08)
    assert many[0::2, 0].any()  # each image can be given a class that only the other one holds
    assert many[1::2, 0].any()


def test_class_mix_by_hand():
    source_labels = torch.tensor([[[0, 1, IGNORE_INDEX]]])
    chosen = torch.tensor([[True, False, False, True]])
    out = class_mix(
        torch.full((1, 3, 1, 3), 7.0),
        source_labels,
        torch.zeros(1, 3, 1, 3),
        torch.tensor([[[2, 2, 2]]]),
        torch.tensor([[[0.25, 0.25, 0.25]]]),
        chosen,
    )
    assert out.images[0, 0, 0].tolist() == [7.0, 0.0, 7.0]
    assert out.labels[0, 0].tolist() == [0, 2, IGNORE_INDEX]
    assert out.weight[0, 0].tolist() == [1.0, 0.25, 1.0]
    assert out.pasted[0, 0].tolist() == [True, False, True]


def test_hue_and_saturation_equal_the_standard_librarys_hsv():
    image = torch.rand(3, 4, 5, dtype=torch.double)
    image[:, 0, 0] = 0.5  # gray has no hue
    out = mixing._turn_and_stretch(image, 0.3, 1.1)
    for y in range(4):
        for x in range(5):
            h, s, v = colorsys.rgb_to_hsv(*image[:, y, x].tolist())
            expected = colorsys.hsv_to_rgb((h + 0.3) % 1, min(s * 1.1, 1), v)
            assert out[:, y, x].tolist() == pytest.approx(expected, abs=1e-6)


def test_jitter_adds_brightness_and_multiplies_contrast_about_zero():
    """On gray images hue and saturation do nothing; whatever the order, x -> (x + b) c or x c + b."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        b, c, _, _ = np.random.default_rng(seed).uniform(-0.2, 0.2, size=4)
        out = color_jitter(torch.full((3, 2, 2), 0.4), 0.2, rng).unique().tolist()
        assert len(out) == 1
        assert any(out[0] == pytest.approx(e, abs=1e-6) for e in ((0.4 + b) * (1 + c), 0.4 * (1 + c) + b))


def test_blur_keeps_constants_and_spreads_a_point_as_a_gaussian():
    assert torch.allclose(gaussian_blur(torch.ones(3, 20, 20), 1.0), torch.ones(3, 20, 20), atol=1e-6)
    point = torch.zeros(3, 21, 21)
    point[:, 10, 10] = 1
    out = gaussian_blur(point, 0.8)
    assert (out[:, 10, 11] / out[:, 10, 10]).tolist() == pytest.approx([np.exp(-1 / (2 * 0.64))] * 3, rel=1e-4)
    assert out.sum().item() == pytest.approx(3, rel=1e-5)


def test_perturb_is_a_function_of_the_images_own_generator():
    images = torch.randn(2, 3, 16, 16)
    both = perturb(images, jitter=0.2, blur=True, rngs=rngs(1, 2))
    second = perturb(images[1:], jitter=0.2, blur=True, rngs=rngs(2))
    assert torch.equal(both[1:], second)
    assert torch.equal(perturb(images, jitter=0, blur=False, rngs=rngs(1, 2)), images)
