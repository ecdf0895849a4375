"""Labels of crops are those of native pixels, as bringing all logits to the native size would give them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pgpc.bases.proca.pseudo_labels import crop_labels
from pgpc.data.scaled_crops import PADDING, ScaledCrops, scaled_crop

IGNORE, C = 255, 5


def some_crops(native, size, scales, num):
    image = np.zeros((native[1], native[0], 3), np.uint8)
    made = [scaled_crop(image, size, scales, np.random.default_rng(k), interpolation="bicubic") for k in range(num)]
    return ScaledCrops(*map(torch.cat, zip(*made, strict=True)))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("native", [(96, 48), (40, 24)])
def test_labels_are_those_of_native_pixels(align_corners, native):
    """Also where the native image is smaller than the crop, and of another aspect."""
    width, height = native
    crops = some_crops(native, (48, 24), (0.5, 1.5), 6)
    logits = 4 * torch.randn(6, C, 6, 12, generator=torch.Generator().manual_seed(0))
    thresholds = torch.tensor([0.3, 0.5, 0.7, 0.9, 0.4])
    valid = torch.ones(6, 24, 48, dtype=torch.bool)
    found = crop_labels(logits, crops, valid, thresholds, align_corners=align_corners)
    whole = F.interpolate(logits, (height, width), mode="bilinear", align_corners=align_corners).softmax(dim=1)
    probability, labels = whole.max(dim=1)
    labels[probability < thresholds[labels]] = IGNORE
    for k in range(6):
        expected = labels[k][crops.rows[k].clamp(min=0)][:, crops.columns[k].clamp(min=0)]
        expected[crops.rows[k] == PADDING] = IGNORE
        expected[:, crops.columns[k] == PADDING] = IGNORE
        assert (found[k] == expected).float().mean() > 0.999  # a float may fall to the other side of a threshold
    kept = (found != IGNORE).float().mean()
    assert 0.2 < kept < 0.95


def test_margins_of_the_whole_image_are_ignored():
    """The lower quarter of the native image, wherever the crop shows it."""
    crops = some_crops((96, 48), (48, 24), (0.5, 1.5), 8)
    valid = torch.ones(8, 24, 48, dtype=torch.bool)
    valid[:, 18:] = False
    logits = torch.zeros(8, C, 3, 6)
    logits[:, 2] = 30.0
    found = crop_labels(logits, crops, valid, torch.full((C,), 0.9), align_corners=True)
    below = (crops.rows >= 36)[:, :, None].expand_as(found)
    assert (found[below] == IGNORE).all()
    assert (found[~below] == 2).all()
    assert below.any()
    assert not below.all()
