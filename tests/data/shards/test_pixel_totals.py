"""Sums over pixels: exact, in any order, and of them mean and standard deviation."""

from __future__ import annotations

import numpy as np
import pytest

from pgpc.data.shards.pixel_totals import PixelTotals


def test_mean_and_std_are_those_of_all_pixels() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 2**16, (h, 5, 4), dtype=np.uint16) for h in (3, 7)]
    totals = sum(map(PixelTotals.of, images), PixelTotals())
    pixels = np.concatenate([image.reshape(-1, 4) for image in images]).astype(np.float64)
    assert (
        totals.count == 50
        and totals.mean == pytest.approx(pixels.mean(0))
        and totals.std == pytest.approx(pixels.std(0))
    )
    assert totals == PixelTotals.of(images[1]) + PixelTotals.of(images[0])
    assert PixelTotals.from_json(totals.to_json()) == totals


def test_the_highest_values_do_not_overflow_and_a_constant_band_is_not_divided_by_zero() -> None:
    totals = PixelTotals.of(np.full((2000, 2000, 1), 65535, dtype=np.uint16))
    assert totals.squares == (4_000_000 * 65535**2,) and totals.mean == (65535.0,) and totals.std == (1.0,)


@pytest.mark.parametrize("wrong", [{"sums": [1]}, {"count": 1.5}, {"squares": [-1, 2]}])
def test_sums_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    sound = {"count": 3, "sums": [3, 4], "squares": [5, 6]}
    assert PixelTotals.from_json(sound).count == 3
    with pytest.raises(ValueError, match="its sums of pixels are none"):
        PixelTotals.from_json({**sound, **wrong})


def test_bands_of_one_value_are_found() -> None:
    pixels = np.random.default_rng(0).integers(0, 9, (4, 5, 3), dtype=np.uint16)
    pixels[..., 1] = 65535
    assert PixelTotals.of(pixels).constant == (1,)
    assert (PixelTotals.of(pixels) + PixelTotals.of(pixels * 0)).constant == (), "of each image, but not of all"
