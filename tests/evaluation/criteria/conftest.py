"""A target of seven pictures with three classes: with labels, with other labels, and without any."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards

COUNT = 7
CLASSES = '{"classes": [{"name": "red"}, {"name": "green"}, {"name": "blue"}]}'


class Targets(NamedTuple):
    """The train splits of one target with its labels, with other ones, and with none."""

    labeled: Shards
    scrambled: Shards
    bare: Shards


def _write(root: Path, labels: int | None) -> Shards:
    """Pack the pictures, the last of another shape; `labels` is the seed of their labels."""
    images, ids = np.random.default_rng(0), np.random.default_rng(labels or 0)
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True)
    for i in range(COUNT):
        size = (40, 64) if i < COUNT - 1 else (64, 56)
        blocks = images.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(root / f"images/train/{i}.png")
        if labels is not None:
            Image.fromarray(ids.integers(0, 3, size, dtype=np.uint8)).save(root / f"labels/train/{i}.png")
    (root / "classes.json").write_text(CLASSES)
    pack("folder", root, root / "out", description=root / "classes.json")
    return Shards.open(root / "out", "train")


@pytest.fixture(scope="session")
def targets(tmp_path_factory) -> Targets:
    root = tmp_path_factory.mktemp("targets")
    return Targets(_write(root / "a", 1), _write(root / "b", 2), _write(root / "c", None))
