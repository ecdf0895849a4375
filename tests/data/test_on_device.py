"""Batches that cross the bus as bytes, and are normalized behind it."""

import torch

from pgpc.data.batch import Batch
from pgpc.data.normalization import Normalization
from pgpc.data.on_device import as_numbers, on_device
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.generator import write_streets
from tests.data.test_loader import _config, _equal
from tests.helpers.training import training_batches

CPU = torch.device("cpu")


def batches(shards, crop, as_bytes):
    config = _config(**{"data.crop": crop, "training.iterations": 3})
    return list(training_batches(config, shards, shards, as_bytes=as_bytes))


def test_bytes_become_the_same_numbers(tmp_path):
    streets = StreetsConfig(num_source=6, num_target=2, num_val=2, height=64, width=128, seed=1)
    write_streets(streets, tmp_path / "raw")
    pack("gta5", tmp_path / "raw/source", tmp_path / "source")
    shards = Shards.open(tmp_path / "source", "train")
    for crop, kind in ((64, torch.uint8), (96, torch.float32)):  # the larger crop is padded, with the mean color
        there, here = batches(shards, crop, as_bytes=False), batches(shards, crop, as_bytes=True)
        assert here[0].source_images.dtype == here[0].target_images.dtype == kind
        assert here[0].source_labels.dtype == torch.uint8
        arrived = on_device(iter(here), CPU, _config().data.normalization)
        for a, b in zip(there, arrived, strict=True):
            assert a.source_images.dtype == b.source_images.dtype == torch.float32
            assert _equal(a, b)


def test_by_hand():
    two = Normalization((10.0, 20.0), (2.0, 4.0))
    pixels = torch.tensor([12, 28], dtype=torch.uint8).view(1, 2, 1, 1)
    floats = torch.full((1, 2, 1, 1), 7.0)
    labels = torch.tensor([[[255]]], dtype=torch.uint8)
    numbers = as_numbers(Batch(pixels, labels, floats, labels == 0), two)
    assert numbers.source_images.flatten().tolist() == [1.0, 2.0]
    assert numbers.source_labels.tolist() == [[[255]]]
    assert numbers.source_labels.dtype == torch.int64
    assert numbers.target_images is floats
    assert numbers.labeled_images is None
