"""Pictures in files."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise(height, width, seed=0):
    """Random squares of 8 pixels: ``(height, width, 3)`` uint8."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def save(pixels, file, **options):
    """Write a picture; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


def read(file):
    """Read a picture, and close the file."""
    with Image.open(file) as image:
        image.load()
    return image


def files_below(folder):
    """The names of all files below a folder, sorted."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
