"""Packed pictures of one's own: large ones with labels of three classes, small ones without."""

import json

import numpy as np
import pytest
from PIL import Image

from pgpc.data.shards.pack import pack


def photos(folder, number, width, height, *, labels=None):
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


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """The folders of the packed shards, (source, target)."""
    root = tmp_path_factory.mktemp("own")
    classes = root / "classes.json"
    entries = [{"name": name, "ids": [number]} for name, number in (("path", 7), ("crop", 9), ("weed", 11))]
    classes.write_text(json.dumps({"classes": entries}))
    pack("folder", photos(root / "game", 6, 300, 200, labels=40), root / "source", description=classes)
    pack("folder", photos(root / "field", 5, 128, 160), root / "target")
    return str(root / "source"), str(root / "target")
