"""TIFF files of any bands and bits."""

from __future__ import annotations

import io

import numpy as np
import tifffile


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """Return a TIFF of pixels ``(H, W)`` or ``(H, W, bands)``; three bands are RGB, all others of a sensor."""
    file = io.BytesIO()
    rgb = pixels.ndim == 3 and pixels.shape[2] == 3
    given = {"photometric": "rgb" if rgb else "minisblack", "metadata": None, **options}
    if pixels.ndim == 3 and not rgb:
        given.setdefault("planarconfig", "contig")
        given.setdefault("extrasamples", ("unspecified",) * (pixels.shape[2] - 1))
    separate = given.get("planarconfig") == "separate"
    tifffile.imwrite(file, np.moveaxis(pixels, 2, 0) if separate else pixels, **given)
    return file.getvalue()
