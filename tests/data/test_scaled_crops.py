"""Crops at random scales of the native image: sizes, places, padding, and where pixels come from."""

import numpy as np
import pytest
import torch
from PIL import Image

from pgpc.data.normalization import MEAN, STD, Normalization
from pgpc.data.scaled_crops import PADDING, scaled_crop

PLAIN = {"interpolation": "bicubic"}


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def crops(image, size, scales, num):
    return [scaled_crop(image, size, scales, np.random.default_rng(seed), **PLAIN) for seed in range(num)]


def colors(crop):
    """The pixels of a crop as whole numbers, ``(H, W, 3)``."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    return (crop.images[0] * std + mean).round().numpy().astype(np.uint8).transpose(1, 2, 0)


def test_an_object_is_as_large_as_the_scale_of_the_native_image_makes_it():
    """40 x 20 pixels of 256 x 128, at 1.5: 60 x 30 in a crop of 128 x 64, in which the whole image would have 20 x 10.

    At 0.5 the crop is the whole image.
    """
    for scale, width, height in ((1.5, 60, 30), (0.5, 20, 10)):
        found = 0
        for crop in crops(picture(256, 128), (128, 64), (scale, scale), 40):
            columns, rows = crop.columns[0], crop.rows[0]
            assert (crop.images.shape, crop.native.tolist()) == ((1, 3, 64, 128), [[128, 256]])
            if columns.min() <= 99 and columns.max() >= 141 and rows.min() <= 39 and rows.max() >= 61:
                assert ((columns >= 100) & (columns < 140)).sum() == pytest.approx(width, abs=1)
                assert ((rows >= 40) & (rows < 60)).sum() == pytest.approx(height, abs=1)
                found += 1
        assert found >= 3


@pytest.mark.parametrize(("native", "padded", "pixels"), [((128, 64), 0.0, 0.0), ((64, 32), 1 / 2, 5 / 24)])
def test_shares_of_padding_by_hand(native, padded, pixels):
    """None where the native image is twice the crop, as those of Cityscapes are.

    Where it is as large as the crop, half of all: the scale s is below 1 in one of two cases, and the mean of 1 - s^2
    for s from 1/2 to 1, times that half, is 1/2 - (1 - 1/8) / 3 = 5/24.
    """
    beside = np.array(
        [
            1 - (crop.rows != PADDING).float().mean().item() * (crop.columns != PADDING).float().mean().item()
            for crop in crops(picture(*native), (64, 32), (0.5, 1.5), 300)
        ]
    )
    # Sides are rounded down to whole pixels, which pads up to half of a row more.
    assert np.mean(beside > 0) == pytest.approx(padded, abs=0.09 if padded else 0)
    assert beside.mean() == pytest.approx(pixels, abs=0.04 if pixels else 0)


def test_padding_is_black_and_on_both_sides():
    left, top = [], []  # rows are never mirrored
    for crop in crops(np.full((32, 64, 3), 200, np.uint8), (64, 32), (0.5, 0.5), 100):
        shown = crop.columns[0] != PADDING
        assert (int(shown.sum()), int((crop.rows[0] != PADDING).sum())) == (32, 16)
        left.append(int(shown.int().argmax()))
        top.append(int((crop.rows[0] != PADDING).int().argmax()))
        both = (crop.rows[0] != PADDING)[:, None] & shown
        found = colors(crop)
        assert (found[~both.numpy()] == 0).all()
        assert (found[both.numpy()] == 200).all()
    assert (min(left), max(left)) == (0, 32)
    assert (min(top), max(top)) == (0, 16)
    assert np.mean(left) == pytest.approx(16, abs=4)
    assert np.mean(top) == pytest.approx(8, abs=2)
    assert len(set(left)) > 20


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.37])
def test_pixels_are_those_of_pil_in_the_image_and_in_its_labels(scale):
    native = picture(61, 41)  # odd, so that no center falls between two native pixels
    width, height = int(61 * scale), int(41 * scale)
    ids = np.arange(61, dtype=np.int32)[None].repeat(41, 0), np.arange(41, dtype=np.int32)[:, None].repeat(61, 1)
    whole = np.array(Image.fromarray(native).resize((width, height), Image.Resampling.BICUBIC))
    columns, rows = (np.array(Image.fromarray(x).resize((width, height), Image.Resampling.NEAREST)) for x in ids)
    mirrored = 0
    for crop in crops(native, (30, 20), (scale, scale), 20):
        flip = bool(crop.columns[0, 0] > crop.columns[0, -1])
        ours = crop.columns[0].flip(0) if flip else crop.columns[0]
        assert np.isin(ours.numpy(), columns[0]).all()
        # Where the crop lies in the scaled image, by its first native pixels; each may be shown more than once.
        places = [
            (top, left)
            for top in range(height - 19)
            for left in range(width - 29)
            if np.array_equal(rows[top : top + 20, 0], crop.rows[0])
            and np.array_equal(columns[0, left : left + 30], ours)
        ]
        seen = colors(crop)[:, ::-1] if flip else colors(crop)
        assert any(np.array_equal(seen, whole[top : top + 20, left : left + 30]) for top, left in places)
        mirrored += flip
    assert 3 <= mirrored <= 17


def test_images_of_other_bands_and_bits():
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 40, 4), dtype=np.uint16)
    crop = scaled_crop(
        deep,
        (40, 20),
        (0.5, 0.5),
        np.random.default_rng(0),
        normalization=Normalization((0.0,) * 4, (1.0,) * 4),
        **PLAIN,
    )
    assert crop.images.shape == (1, 4, 20, 40)
    assert crop.images.max() > 255
