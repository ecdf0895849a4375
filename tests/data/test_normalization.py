"""Normalization by band, resizing of 16 bits, and pictures of other bands to look at."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pgpc.adaptation.mixing import gaussian_blur, perturb
from pgpc.bases.proca.augmentation import augment_colors
from pgpc.data.config import DataConfig
from pgpc.data.normalization import IMAGENET_PIXELS, Normalization, to_picture
from pgpc.data.pixel_form import PixelForm
from pgpc.data.transforms import image_tensor, resize_image

FORM = PixelForm(4, 16)
OF_FOUR = Normalization((100.0, 200.0, 300.0, 40_000.0), (10.0, 20.0, 30.0, 5_000.0))
DEEP = np.random.default_rng(0).integers(0, 2**16, (8, 12, 4), dtype=np.uint16)


def test_each_band_is_normalized_by_its_own_numbers_over_the_whole_range() -> None:
    tensor = image_tensor(DEEP, flip=True, side=16, normalization=OF_FOUR)
    expected = (DEEP[:, ::-1].astype(np.float64) - OF_FOUR.mean) / OF_FOUR.std
    assert tensor.shape == (4, 16, 16) and tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[:, :8, :12].permute(1, 2, 0).numpy(), expected, rtol=1e-5, atol=1e-3)
    assert not tensor[:, 8:].any() and not tensor[:, :, 12:].any()


def test_numbers_have_one_type_whoever_asks_first() -> None:
    """They are kept: in the type of a caller with another default, images of all would differ in the last bit."""
    own = Normalization((1.1, 2.2), (3.3, 4.4))
    torch.set_default_dtype(torch.float64)
    try:
        assert [x.dtype for x in own.as_tensors()] == [torch.float32] * 2
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_sixteen_bits_are_resized_as_eight_bits_are(interpolation: str) -> None:
    """Values of 8 bits that are stored 257 times as large come to 257 times as much, but for rounding."""
    flat = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    small = resize_image(flat, (17, 11), interpolation)
    deep = resize_image(flat.astype(np.uint16) * 257, (17, 11), interpolation)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - small).max() <= 1.01
    highest = resize_image(np.full((8, 8, 5), 65535, dtype=np.uint16), (5, 5), interpolation)
    assert (highest == 65535).all(), "no overshoot wraps around"


def test_a_picture_shows_two_deviations_to_either_side_of_the_mean() -> None:
    normalized = torch.tensor([-9.0, -2.0, 0.0, 2.0, 9.0]).view(1, 1, 5).expand(4, 1, 5)
    shown = to_picture(normalized, OF_FOUR, FORM)
    assert shown[:, 0].tolist() == [[0, 0, 128, 255, 255]] * 3
    gray = to_picture(normalized[:1], Normalization((1.0,), (1.0,)), PixelForm(1, 8))
    assert gray.shape == (3, 1, 5) and (gray == gray[:1]).all()


def test_blur_takes_any_bands_and_color_jitter_of_proca_only_rgb() -> None:
    images = torch.randn(2, 5, 24, 24)
    rngs = [np.random.default_rng(k) for k in range(2)]
    blurred = perturb(images, jitter=0.0, blur=True, rngs=rngs, normalization=Normalization((0.0,) * 5, (1.0,) * 5))
    assert blurred.shape == images.shape and not torch.equal(blurred, images)
    torch.testing.assert_close(gaussian_blur(images[0], 0.8)[3:4], gaussian_blur(images[0, 3:4], 0.8))
    changed = augment_colors(images, rngs, Normalization((0.0,) * 5, (1.0,) * 5), PixelForm(5, 16))
    assert changed.shape == images.shape and not torch.equal(changed, images)
    assert torch.allclose(changed.mean(), images.mean(), atol=0.05), "blurred, and nothing else"


def test_numbers_must_be_those_of_the_bands() -> None:
    assert DataConfig(bands=2, mean=(1.0, 2.0), std=(1.0, 2.0)).normalization == ((1.0, 2.0), (1.0, 2.0))
    assert DataConfig().normalization == IMAGENET_PIXELS
    for wrong in ({"mean": (1.0,) * 3}, {"mean": (1.0,), "std": (1.0,)}, {"mean": (1.0,) * 3, "std": (0.0,) * 3}):
        with pytest.raises(ValueError, match=r"data\.mean and data\.std must both|data.std must"):
            DataConfig(**wrong)
    with pytest.raises(ValueError, match="data.bits must be one of 8, 16"):
        DataConfig(bits=12)
