"""What the pixels of an image are: the number of its bands, and the bits of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BITS = (8, 16)
"""Bits that a band may have: values are whole numbers from 0 on."""
MAX_BANDS = 64
"""Most bands of an image."""


class PixelForm(NamedTuple):
    """The form of pixels that all images of a data set, and a network trained on them, have.

    Attributes:
        bands: Number of bands. Three are red, green and blue, or whatever three bands the files hold.
        bits: Bits of each band, one of `BITS`. Values are kept as they are: none is scaled or clipped.
    """

    bands: int = 3
    bits: int = 8

    @property
    def dtype(self) -> np.dtype:
        """The type of an array of such pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def highest(self) -> int:
        """The highest value of a band."""
        return int(2**self.bits - 1)

    def __str__(self) -> str:
        return f"{self.bands} band{'s' * (self.bands != 1)} of {self.bits} bits"

    def fits(self, pixels: np.ndarray) -> bool:
        """Return whether an array is an image ``(H, W, bands)`` of this form."""
        return pixels.ndim == 3 and pixels.shape[2] == self.bands and pixels.dtype == self.dtype


RGB = PixelForm()
"""Photos."""

FORM_REMEDY = "`pgpc pack` takes images as its --bands and --bits say, and a trained network such as it was trained on."
"""Advice on images of another form, as the end of a message."""
