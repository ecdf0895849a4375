"""Stages of ProCA: where they begin, and what their steps take."""

import pytest

from pgpc.bases import make_base
from pgpc.bases.proca.stages import first_step, stage_of
from pgpc.config import Config, override


def config(**changes):
    return override(
        Config(),
        {
            "base": "proca",
            "proca.source_iterations": 3,
            "proca.self_training_iterations": 2,
            "training.iterations": 10,
            "training.batch_size": 4,
            "contrast.enabled": False,
            "adaptation.feature_distance_weight": 0.0,
            **changes,
        },
    )


def test_stages_by_hand():
    stages = [stage_of(step, config()) for step in range(10)]
    assert stages == ["source"] * 3 + ["adapt"] * 5 + ["self_training"] * 2


def test_images_by_hand():
    images = [make_base(config()).images_per_step(step) for step in range(10)]
    assert images == [(8, 0)] * 3 + [(4, 4)] * 5 + [(0, 8)] * 2


def test_without_self_training_the_run_ends_adapting():
    without = config(**{"proca.self_training_iterations": 0})
    assert [stage_of(step, without) for step in range(10)] == ["source"] * 3 + ["adapt"] * 7
    assert first_step("self_training", without) == 10


@pytest.mark.parametrize("stage", ["source", "adapt", "self_training"])
def test_a_stage_begins_at_its_first_step(stage):
    start = first_step(stage, config())
    assert stage_of(start, config()) == stage
    assert start == 0 or stage_of(start - 1, config()) != stage


@pytest.mark.parametrize(("adapting", "expected"), [(True, (4, 4)), (False, (4, 0))])
def test_other_bases_take_the_same_at_every_step(adapting, expected):
    other = config(**{"base": "self_training", "adaptation.enabled": adapting})
    assert {make_base(other).images_per_step(step) for step in range(10)} == {expected}


def test_the_published_lengths():
    published = config(
        **{
            "proca.source_iterations": 20_000,
            "proca.self_training_iterations": 90_000,
            "training.iterations": 200_000,
        }
    )
    assert [first_step(stage, published) for stage in ("source", "adapt", "self_training")] == [0, 20_000, 110_000]
