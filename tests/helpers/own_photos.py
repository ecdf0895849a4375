"""Photos of one's own, in the folders of layout "folder"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photos(folder: Path, number: int, width: int, height: int, *, labels: int | None = None) -> Path:
    """Write photos, and labels of two stripes with ids 7 and 9 and a corner of `labels` pixels of id 11."""
    rng = np.random.default_rng(0)
    for name in range(number):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (folder / "images/train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"images/train/{name}.png")
        if labels is not None:
            ids = np.full((height, width), 7, dtype=np.uint8)
            ids[height // 2 :] = 9
            ids.reshape(-1)[:labels] = 11
            (folder / "labels/train").mkdir(parents=True, exist_ok=True)
            Image.fromarray(ids).save(folder / f"labels/train/{name}.png")
    return folder
