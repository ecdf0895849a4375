"""Checkpoints of tiny networks, untrained, on tiny pictures."""

import pytest

import pgpc
from tests.helpers.runs import untrained_run, vary_scores

TINY = {
    "data.streets.num_source": 2,
    "data.streets.num_target": 2,
    "data.streets.num_val": 5,
    "data.streets.height": 64,
    "data.streets.width": 128,
    "data.source_size": (128, 64),
    "data.target_size": (128, 64),
    "data.crop": 64,
    "model.head_channels": 8,
    "model.pretrained": None,
    "contrast.dim": 8,
    "contrast.hidden": 8,
    "contrast.bank_size": 64,
}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """``make_run("a", "streets/daformer", {"seed": 1})``: the folder of a run as it is before its first step."""

    def make(name, preset="streets/daformer+pgpc", changes=None, classes=None):
        config = pgpc.override(pgpc.preset(preset), {**TINY, **(changes or {})})
        return untrained_run(tmp_path_factory.mktemp("runs") / name, config, classes=classes, change=vary_scores)

    return make


@pytest.fixture(scope="session")
def contrasted(make_run):
    """A run with a projection head and a teacher."""
    return make_run("contrasted")


@pytest.fixture(scope="session")
def plain(make_run):
    """A run with neither, from another seed."""
    return make_run("plain", "streets/source-only", {"seed": 1})
