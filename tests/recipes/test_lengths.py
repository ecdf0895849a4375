"""Lengths that change in proportion with the number of iterations."""

import pytest

import pgpc
from pgpc.config import flatten, override
from pgpc.recipes.lengths import in_words, lengths_of, scaled_lengths


def test_start_fill_warm_up_and_intervals_keep_their_shares():
    config = pgpc.preset("gta5-cityscapes/daformer+pgpc")
    assert scaled_lengths(config, 4_000) == {
        "contrast.start": 2_000,
        "contrast.fill": 50,
        "optimizer.warmup": 150,
        "training.eval_interval": 400,
        "training.log_interval": 5,
    }
    assert scaled_lengths(config, 80_000)["contrast.start"] == 40_000
    assert scaled_lengths(config, 40_000) == {}


def test_all_lengths_as_settings_make_another_config_as_long():
    config = pgpc.preset("gta5-cityscapes/proca+pgpc")
    lengths = lengths_of(config)
    assert "contrast.start" in lengths and "training.iterations" not in lengths
    assert flatten(override(scaled := override(config, {"training.log_interval": 7}), lengths)) == flatten(config)
    assert scaled != config


def test_a_length_that_is_given_stays_and_the_others_change():
    config = pgpc.preset("gta5-cityscapes/daformer+pgpc")
    found = scaled_lengths(config, 4_000, given={"contrast.start", "training.iterations"})
    assert "contrast.start" not in found
    assert found["contrast.fill"] == 50


def test_intervals_are_rounded_up_so_that_there_are_not_more_evaluations():
    config = pgpc.preset("gta5-cityscapes/daformer+pgpc")
    interval = scaled_lengths(config, 12_345)["training.eval_interval"]
    assert interval == 1_235
    assert -(-12_345 // interval) == 40_000 // 4_000


@pytest.mark.parametrize(
    "name", ["streets", "gta5-cityscapes/hrda+pgpc", "gta5-cityscapes/proca+pgpc", "streets/proca+pgpc"]
)
@pytest.mark.parametrize("iterations", [60, 1_000, 300_000])
def test_every_preset_remains_valid(name, iterations):
    """The stages of ProCA, too; only those of a base that has them are changed."""
    config = pgpc.preset(name)
    lengths = scaled_lengths(config, iterations)
    changed = override(config, {"training.iterations": iterations, **lengths})
    assert changed.contrast.start < iterations
    assert any(key.startswith("proca.") for key in lengths) == (config.base == "proca")
    assert {key for key, value in flatten(changed).items() if value != flatten(config)[key]} == {
        "training.iterations",
        *lengths,
    }


def test_what_has_changed_is_said_with_what_it_was():
    config = pgpc.preset("streets")
    text = in_words(config, scaled_lengths(config, 400), 400)
    assert text.startswith("training.iterations=400 instead of 200, and in proportion ")
    assert "contrast.start=120 (was 60)" in text
