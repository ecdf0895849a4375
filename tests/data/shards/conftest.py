"""A folder of shards, whole and to be damaged, here and on S3."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.data.shards.pack import pack
from pgpc.runtime import storage


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of 64 x 48 in Cityscapes' layout, four of them in the train split."""
    root = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("leftImg8bit", "gtFine"):
            (root / f"raw/{kind}/{split}/ulm").mkdir(parents=True)
        for number in range(count):
            stem = f"{split}/ulm/ulm_{number:06d}_000019"
            image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / f"raw/leftImg8bit/{stem}_leftImg8bit.png")
            label = rng.choice([0, 7, 11], (48, 64)).astype(np.uint8)
            Image.fromarray(label).save(root / f"raw/gtFine/{stem}_gtFine_labelIds.png")
    pack("cityscapes", root / "raw", root / "packed")
    return root / "packed"


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(packed, tmp_path / "packed"))


@pytest.fixture
def remote(packed: Path, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same shards on S3, and a machine that has not read them yet."""
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    for file in packed.iterdir():
        storage.upload(file, f"{s3}/{file.name}")
    return s3
