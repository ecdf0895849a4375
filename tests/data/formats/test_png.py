"""PNG files of 16 bits, all of whose bits are kept."""

from __future__ import annotations

import numpy as np
import pytest

from pgpc.data.image_files import decode_image
from pgpc.data.image_limits import PictureError
from pgpc.data.pixel_form import PixelForm

DEEP = np.random.default_rng(0).integers(0, 2**16, (9, 13, 4), dtype=np.uint16)


@pytest.mark.parametrize(("color", "bands"), [(0, 1), (2, 3), (6, 4)])
def test_every_bit_is_kept(png, color: int, bands: int) -> None:
    pixels = DEEP[..., :bands]
    data = png(pixels[..., 0] if bands == 1 else pixels, depth=16, color=color)
    decoded = decode_image(data, form=PixelForm(bands, 16))
    assert decoded.dtype == np.uint16 and np.array_equal(decoded, pixels)


def test_gray_is_repeated_and_alpha_dropped_for_three_bands(png) -> None:
    gray = decode_image(png(DEEP[..., 0], depth=16), form=PixelForm(3, 16))
    assert np.array_equal(gray, np.stack([DEEP[..., 0]] * 3, axis=2))
    assert np.array_equal(decode_image(png(DEEP, depth=16, color=6), form=PixelForm(3, 16)), DEEP[..., :3])


def test_other_bands_and_bits_are_refused(png) -> None:
    deep, flat = png(DEEP[..., :3], depth=16, color=2), png(DEEP[..., :3] >> 8, color=2)
    for data, form in (
        (deep, PixelForm(4, 16)),
        (deep, PixelForm(1, 16)),
        (flat, PixelForm(3, 16)),
        (flat, PixelForm(4)),
    ):
        with pytest.raises(PictureError, match=f"image must have {form.bands} band"):
            decode_image(data, form=form)
