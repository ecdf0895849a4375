"""The teacher as it is in the passes of a step: its weights, its mode, its statistics."""

import itertools

import pytest
import torch
from torch import nn

from pgpc.bases.state import TrainingState
from pgpc.data.domains import open_shards
from pgpc.models.drop_path import DropPath
from tests.helpers.training import train_step, training_batches


@pytest.fixture
def training(tiny):
    """A state with a fast optimizer, and its batches."""
    config = tiny(changes={"optimizer.warmup": 0, "optimizer.lr": 0.01, "model.drop_path": 0.1})
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    return TrainingState(config, torch.device("cpu")), training_batches(config, source, target)


def test_it_is_updated_before_it_looks(training):
    state, batches = training
    name = "segmenter.encoder.patch_embed1.proj.weight"
    weight, seen = state.teacher.get_parameter(name), []
    state.teacher.register_forward_pre_hook(lambda *_: seen.append(weight.clone()))
    for batch in itertools.islice(batches, 2):
        before, student = weight.clone(), state.student.get_parameter(name).clone()
        seen.clear()
        train_step(state, batch)
        expected = student if state.step == 1 else (before + student) / 2
        assert len(seen) == 1  # target and source together
        for weight_then in seen:
            torch.testing.assert_close(weight_then, expected)
    assert not torch.equal(before, expected)


def test_it_normalizes_by_the_batch_and_drops_nothing(training):
    state, batches = training
    modes = {nn.BatchNorm2d: set(), nn.Dropout2d: set(), DropPath: set()}
    for module in state.teacher.modules():
        if type(module) in modes:
            module.register_forward_hook(lambda module, *_: modes[type(module)].add(module.training))
    for batch in itertools.islice(batches, 2):
        train_step(state, batch)
    assert modes == {nn.BatchNorm2d: {True}, nn.Dropout2d: {False}, DropPath: {False}}


def test_its_running_statistics_are_its_own(training):
    state, batches = training
    for name, buffer in state.student.named_buffers():
        if "running" in name:
            buffer.fill_(1e9)
    for batch in itertools.islice(batches, 2):
        train_step(state, batch)
    assert all(buffer.max() < 1e6 for name, buffer in state.teacher.named_buffers() if "running" in name)
