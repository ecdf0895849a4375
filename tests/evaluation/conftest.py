"""Checkpoints of untrained networks, and one such network."""

import pytest

from pgpc.config import override
from pgpc.evaluation.loaded_model import load_model
from pgpc.presets import preset
from tests.helpers.run_fixtures import contrasted, make_run, plain
from tests.helpers.runs import SMALL, untrained_run, vary_scores

__all__ = ["contrasted", "make_run", "plain"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a network that finds several classes in noise."""
    config = override(preset("streets/source-only"), SMALL)
    return untrained_run(tmp_path_factory.mktemp("run"), config, change=vary_scores)


@pytest.fixture(scope="module")
def loaded(run):
    return load_model(run)
