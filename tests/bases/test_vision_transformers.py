"""Training and contrast on plain vision transformers: where pixels are contrasted, and that a run goes on elsewhere."""

from __future__ import annotations

import pytest
import torch

from pgpc.evaluation.loaded_model import load_model
from pgpc.models.normalization import Statistics
from pgpc.models.student import ForwardRequest
from tests.helpers.training import new_state, random_batch, train_step

VIT = {"model.encoder": "test_vit", "contrast.start": 0, "contrast.fill": 0, "adaptation.feature_distance_weight": 0}


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({"contrast.maps": "all"}, 16),
        ({"contrast.maps": "last"}, 4),
        ({"model.architecture": "vit_light"}, 4),
        ({"model.encoder": "eva02_tiny_patch14_224", "model.architecture": "vit_light"}, 5),
        ({"model.encoder": "mit_b0", "contrast.maps": "last"}, 2),
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_step_contrasts_where_it_is_told(tiny, changes, cells):
    config = tiny("streets/daformer+pgpc", {**VIT, **changes, "data.crop": 64})
    state, batch = new_state(config), random_batch(config)
    (output,) = state.student(ForwardRequest(batch.source_images, decode=False, project=True))
    assert output.require_hidden().shape[2:] == (cells, cells)
    for _ in range(2):
        log = train_step(state, batch)
    assert all(value.isfinite().all() for value in log.values())
    assert log["loss/contrast"] > 0
    assert all(p.grad is not None for p in state.student.parameters())


@pytest.mark.slow
def test_a_checkpoint_predicts_as_its_run_whatever_timm_says_later(tiny, tmp_path, monkeypatch):
    config = tiny("streets/daformer+pgpc", {**VIT, "contrast.maps": "last", "data.crop": 64})
    state = new_state(config)
    state.student.segmenter.encoder.image_scale.fill_(0.5)  # as weights that were loaded say
    train_step(state, random_batch(config))
    state.save(tmp_path)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = state.student.eval().segmenter(images)
        monkeypatch.setattr("pgpc.models.build.image_statistics", lambda _: Statistics((0.1,) * 3, (1,) * 3))
        assert torch.equal(load_model(tmp_path).student.segmenter(images), expected)
