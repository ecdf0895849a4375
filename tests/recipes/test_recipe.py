"""The one way from a preset or a file, and settings, to a config."""

import json

import pytest

import pgpc
from pgpc.config import override
from pgpc.recipes.recipe import compose, from_preset, on_task_of


def test_without_anything_it_is_the_default_preset_and_nothing_is_said():
    assert compose(None, None, {}) == (pgpc.preset("streets"), ())


def test_iterations_alone_scale_the_lengths_and_that_is_said():
    config, notes = compose("gta5-cityscapes/daformer+pgpc", None, {"training.iterations": "4000"})
    assert (config.contrast.start, config.optimizer.warmup, config.training.eval_interval) == (2000, 150, 400)
    assert len(notes) == 1
    assert "contrast.start=2000 (was 20000)" in notes[0]
    config, notes = compose("streets", None, {"training.iterations": 280, "contrast.start": 10, "contrast.fill": 5})
    assert (config.contrast.start, config.contrast.fill, config.training.eval_interval) == (10, 5, 70)


def test_a_length_of_a_file_counts_from_the_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"preset": "streets", "contrast.start": 70, "contrast.fill": 10}))
    config, notes = compose(None, tmp_path / "a.json", {"training.iterations": 400})
    assert (config.contrast.start, config.contrast.fill) == (140, 20)
    assert len(notes) == 1
    with pytest.raises(ValueError, match="A preset and --config exclude each other"):
        compose("streets", tmp_path / "a.json", {})


@pytest.mark.parametrize("iterations", ["many", 0, 1.5])
def test_iterations_that_are_none_are_refused_with_all_else(iterations):
    with pytest.raises(ValueError, match=r"(?s)\d things are wrong.*training\.iterations must"):
        from_preset("streets", {"training.iterations": iterations, "contrast.eta": 2})


def test_random_weights_on_real_images_must_be_said(tmp_path):
    shards = {"data.source": "shards/mine"}
    with pytest.raises(ValueError, match=r"model\.pretrained must be said .* but got 'streets'\. Set it to imagenet"):
        from_preset("streets/daformer", shards)
    for said in ("none", "imagenet", "hf:owner/name"):
        config = from_preset("streets/daformer", {**shards, "model.pretrained": said}).config
        assert config.model.pretrained == (None if said == "none" else said)
    assert from_preset("gta5-cityscapes/daformer", shards).config.model.pretrained == "imagenet"
    (tmp_path / "a.json").write_text(json.dumps({"preset": "streets", **shards}))
    with pytest.raises(ValueError, match=r"model\.pretrained must be said"):
        compose(None, tmp_path / "a.json", {})
    assert compose(None, tmp_path / "a.json", {"model.pretrained": "none"}).config.data.source == "shards/mine"


def test_other_bases_of_a_task_are_made_of_the_same_data(own):
    config = override(pgpc.preset("streets"), {"seed": 3})
    assert on_task_of(config, base="hrda", pgpc=True, settings={"contrast.eta": 0.4}) == override(
        pgpc.preset("streets/hrda+pgpc"), {"contrast.eta": 0.4}
    )
    mine = pgpc.own_preset("custom/daformer+pgpc", source=own[0], target=own[1])
    other = on_task_of(mine, base="hrda", pgpc=False, settings={})
    assert (other.name, other.data.source, other.data.target) == ("custom/hrda", *own)
    assert other.model.num_classes == 3
