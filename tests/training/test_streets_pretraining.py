"""The training of the weights that the embedded pair starts from, on a few tiny scenes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pgpc.data.streets.generator import render
from pgpc.models.shipped import RECIPE_FILE, WEIGHTS_FILE
from pgpc.training import streets_pretraining
from pgpc.training.streets_pretraining import Recipe, class_weights, draw_batch, learning_rate, pretrain, render_scenes

TINY = Recipe(
    scenes=2, height=64, width=96, crop=64, sides=(32, 64), batch_size=2, iterations=2, horizon=3, jitter=0.2, blur=0.5
)


@pytest.mark.slow
def test_it_writes_weights_recipe_and_checksum_and_the_same_ones_again(tmp_path, monkeypatch):
    """Also where it was interrupted after its first iteration."""
    whole = pretrain(TINY, tmp_path / "whole")
    made = json.loads((tmp_path / "whole" / RECIPE_FILE).read_text())
    assert made["sha256"] == whole
    assert Recipe(**{**made["recipe"], "sides": tuple(made["recipe"]["sides"])}) == TINY
    weights = load_file(tmp_path / "whole" / WEIGHTS_FILE)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}

    monkeypatch.setattr(streets_pretraining, "_SAVE_EVERY", 1)
    learn = streets_pretraining.learn

    def stop_at_the_second(network, optimizer, batch, class_weights):
        if optimizer.state and next(iter(optimizer.state.values()))["step"] == 1:
            raise KeyboardInterrupt
        return learn(network, optimizer, batch, class_weights)

    monkeypatch.setattr(streets_pretraining, "learn", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, tmp_path / "parts")
    with pytest.raises(ValueError, match="must be of the same recipe"):
        pretrain(dataclasses.replace(TINY, jitter=0.0), tmp_path / "parts")
    monkeypatch.setattr(streets_pretraining, "learn", learn)
    assert pretrain(TINY, tmp_path / "parts") == whole
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {WEIGHTS_FILE, RECIPE_FILE}


def test_scenes_are_the_sources_and_in_no_pair():
    scenes = render_scenes(TINY)
    image, labels = render("source", np.random.default_rng([TINY.seed, 3, 1]), 64, 96)
    assert np.array_equal(scenes.images[1], image) and np.array_equal(scenes.labels[1], labels)
    for split in range(3):  # the second word of the seeds of source, train and val
        other, _ = render("source", np.random.default_rng([TINY.seed, split, 1]), 64, 96)
        assert not np.array_equal(scenes.images[1], other)


def test_no_number_of_the_targets_style_is_asked_for(monkeypatch):
    """The camera's style and look could be anything."""
    before = render_scenes(TINY)
    monkeypatch.setattr("pgpc.data.streets.generator.CAMERA", None)
    monkeypatch.setattr("pgpc.data.streets.generator.camera_look", None)
    after = render_scenes(TINY)
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))
    images, labels = draw_batch(after, TINY, 0)
    assert images.shape[1:] in ((3, 32, 32), (3, 64, 64)) and labels.shape[1:] == images.shape[2:]


def test_rare_classes_weigh_more():
    """Of 16 pixels 4 are of class 1, 12 of class 0: with e = 0.5 they weigh sqrt(3) to 1, and 1 on average."""
    labels = np.array([0] * 12 + [1] * 4 + [255] * 4, dtype=np.uint8)
    weights = class_weights(labels, 0.5)
    assert weights[1] / weights[0] == pytest.approx(3**0.5)
    assert (0.75 * weights[0] + 0.25 * weights[1]).item() == pytest.approx(1)
    assert weights[2:].eq(0).all()


def test_the_learning_rate_rises_and_falls():
    recipe = dataclasses.replace(TINY, horizon=100, warmup=0.1, lr=1.0)
    rates = [learning_rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == pytest.approx(1) and rates[55] == pytest.approx(0.5)
    assert max(rates) == rates[10] and rates[99] < 0.001
