"""The weights that come with the package."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

import pgpc
from pgpc.config import override
from pgpc.models import build_model
from pgpc.models.config import ModelConfig
from pgpc.models.shipped import FOLDER, RECIPE_FILE, WEIGHTS_FILE
from pgpc.runtime.files import sha256
from pgpc.training.streets_pretraining import Recipe

MADE = json.loads((FOLDER / RECIPE_FILE).read_text())
DAFORMER = pgpc.preset("streets/daformer").model


def built(config, seed=0):
    torch.manual_seed(seed)
    return build_model(config).state_dict()


def test_the_file_is_small_and_that_of_its_recipe():
    file = FOLDER / WEIGHTS_FILE
    assert file.stat().st_size <= 8e6
    assert sha256(file) == MADE["sha256"]
    recipe = Recipe(processes=MADE["recipe"]["processes"])
    assert MADE["recipe"] == json.loads(json.dumps(dataclasses.asdict(recipe)))


def test_streets_are_these_weights_and_none_are_random_ones():
    weights, loaded = load_file(FOLDER / WEIGHTS_FILE), built(DAFORMER)
    assert weights.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], value.to(loaded[name].dtype)) for name, value in weights.items())
    drawn = built(override(pgpc.preset("streets/daformer"), {"model.pretrained": "none"}).model)
    assert sum(torch.equal(drawn[name], loaded[name]) for name in weights) < len(weights) / 2


def test_hrda_takes_the_decoder_for_both_scales():
    weights, loaded = load_file(FOLDER / WEIGHTS_FILE), built(pgpc.preset("streets/hrda").model)
    for name, value in weights.items():
        found = loaded[name.replace("decode_head.", "decode_head.head.", 1)]
        assert torch.equal(found, value.to(found.dtype))


def test_another_encoder_is_refused():
    with pytest.raises(ValueError, match=f"needs model.encoder={MADE['encoder']}.*pretrained=none"):
        build_model(ModelConfig(encoder="mit_b1", pretrained="streets"))
