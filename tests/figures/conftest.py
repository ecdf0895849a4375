"""Checkpoints of tiny networks, untrained, on tiny pictures."""

import pytest
import torch

import pgpc

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
    "contrast.dim": 8,
    "contrast.hidden": 8,
    "contrast.bank_size": 64,
}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """``make_run("a", "streets/daformer", {"seed": 1})``: the folder of a run as it is before its first step."""
    from pgpc.bases.state import TrainingState

    def make(name, preset="streets/daformer+pgpc", changes=None, classes=None):
        config = pgpc.override(pgpc.preset(preset), {**TINY, **(changes or {})})
        folder = tmp_path_factory.mktemp("runs") / name
        state = TrainingState(config, torch.device("cpu"), classes)
        with torch.no_grad():  # an untrained classifier gives nearly the same score to all classes
            for network in (state.student, state.teacher):
                if network is not None:
                    torch.nn.init.normal_(_classifier(network).weight, generator=torch.Generator().manual_seed(3))
        state.save(folder)
        return folder

    return make


def _classifier(network):
    head = network.segmenter.decode_head
    return getattr(head, "head", head).conv_seg


@pytest.fixture(scope="session")
def contrasted(make_run):
    """A run with a projection head and a teacher."""
    return make_run("contrasted")


@pytest.fixture(scope="session")
def plain(make_run):
    """A run with neither, from another seed."""
    return make_run("plain", "streets/source-only", {"seed": 1})
