"""Whole images of a split, each once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pgpc.data import transforms
from pgpc.data.config import DataConfig
from pgpc.data.shards.manifest import ShardError
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.whole_images import whole_images
from tests.helpers.data_sets import write_folder, write_gta5

BOX = (48, 40)


@pytest.fixture(scope="module")
def gta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    write_gta5(root / "raw", count=5)
    pack("gta5", root / "raw", root / "out")
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_images_and_labels_are_those_of_the_rows_resized(gta: Path, workers: int) -> None:
    shards, data = Shards.open(gta / "out", "train"), DataConfig(fit="exact", loader_workers=workers)
    samples = list(whole_images(shards, data, BOX, labeled=True))
    assert len(samples) == 5
    for name, sample in zip(shards.names, samples):
        pixels = np.array(Image.open(gta / f"raw/images/{name}.png"))
        assert torch.equal(sample.image, transforms.whole_image(pixels, BOX, "exact", "bilinear"))
        assert sample.image.shape == (1, 3, 40, 48)
        assert sample.label is not None and sample.label.shape == (1, 40, 48) and sample.label.dtype == torch.int64


def test_the_ranks_together_have_every_image_once(gta: Path) -> None:
    shards, data = Shards.open(gta / "out", "train"), DataConfig(loader_workers=0)
    whole = [sample.image for sample in whole_images(shards, data, BOX, labeled=False)]
    shares = [list(whole_images(shards, data, BOX, labeled=False, rank=rank, world_size=2)) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 2]
    for row, image in enumerate(whole):
        sample = shares[row % 2][row // 2]
        assert torch.equal(sample.image, image) and sample.label is None


def test_some_rows_come_in_their_order_and_are_shared(gta: Path) -> None:
    shards, data = Shards.open(gta / "out", "train"), DataConfig(loader_workers=0)
    whole = [sample.image for sample in whole_images(shards, data, BOX, labeled=False)]
    rows = [3, 0, 4]
    some = [sample.image for sample in whole_images(shards, data, BOX, labeled=False, rows=rows)]
    assert all(torch.equal(image, whole[row]) for row, image in zip(rows, some, strict=True))
    share = [sample.image for sample in whole_images(shards, data, BOX, labeled=False, rows=rows, rank=1, world_size=2)]
    assert len(share) == 1 and torch.equal(share[0], whole[0])
    assert not list(whole_images(shards, data, BOX, labeled=False, rows=[]))


def test_labels_must_be_there_where_they_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "raw")
    pack("folder", tmp_path / "raw", tmp_path / "out", description=tmp_path / "raw/classes.json")
    shards = Shards.open(tmp_path / "out", "train")
    with pytest.raises(ShardError, match="1 of 3 have none"):
        whole_images(shards, DataConfig(), BOX, labeled=True)
    assert len(list(whole_images(shards, DataConfig(loader_workers=0), BOX, labeled=False))) == 3
