"""A run that takes seconds: tiny pictures, a narrow network, contrast from the second step."""

import pytest

import pgpc

TINY = {
    "data.streets.num_source": 8,
    "data.streets.num_target": 6,
    "data.streets.num_val": 4,
    "data.streets.height": 64,
    "data.streets.width": 128,
    "data.source_size": (128, 64),
    "data.target_size": (128, 64),
    "data.crop": 64,
    "data.rare_class_min_pixels": 20,
    "adaptation.ignore_bottom": 4,
    "optimizer.warmup": 10,
    "model.head_channels": 8,
    "contrast.start": 1,
    "contrast.fill": 1,
    "contrast.dim": 8,
    "contrast.hidden": 8,
    "contrast.anchors": 16,
    "contrast.negatives": 32,
    "contrast.bank_size": 64,
    "contrast.quota": 16,
    "contrast.pool": 64,
    "training.iterations": 4,
    "training.batch_size": 2,
    "training.eval_interval": 2,
    "training.log_interval": 1,
}


@pytest.fixture(scope="session")
def tiny():
    """Make a tiny config: ``tiny()``, or ``tiny("streets/daformer", {"seed": 1})``."""

    def make(name="streets", changes=None):
        return pgpc.override(pgpc.preset(name), {**TINY, **(changes or {})})

    return make
