"""When a run may be made longer: what has been done must be what the longer run would have done."""

import logging

import pytest
import torch

import pgpc
from pgpc.bases import make_base
from pgpc.training import Resume
from tests.helpers.states import equal
from tests.helpers.training import SMALL, new_state

CONSTANT = {**SMALL, "optimizer.power": 0}


def extends(config, step, **changes):
    longer = pgpc.override(config, {"training.iterations": config.training.iterations + 3, **changes})
    return make_base(longer).extends(config, step)


@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_a_decaying_rate_depends_on_the_length_from_the_second_step_on(step, tiny):
    """The first has the full rate, whatever the length."""
    assert extends(tiny(), step) == (step <= 1)
    assert extends(tiny(changes=CONSTANT), step)


def test_stages_of_proca_that_end_with_the_run_are_compared(tiny):
    """Stages of one, two and one iterations: the third step is in the second stage, and would be with any length."""
    config = tiny(
        "streets/proca",
        {
            "optimizer.power": 0,
            "proca.adapt_lr": pgpc.preset(
                "streets/proca"
            ).optimizer.lr,  # so that only the numbers of images tell stages apart
            "optimizer.warmup": 0,
            "model.encoder": "test_efficientnet",
            "training.iterations": 4,
            "proca.source_iterations": 1,
            "proca.self_training_iterations": 1,
        },
    )
    assert [extends(config, step) for step in (1, 3, 4)] == [True, True, False]


def checkpoint(config, folder, step):
    state = new_state(config)
    state.step = step
    state.save(folder)
    return folder


def test_a_run_at_a_constant_rate_is_loaded_with_more_iterations(tiny, tmp_path, caplog):
    config = tiny(changes=CONSTANT)
    checkpoint(config, tmp_path, 4)
    longer = pgpc.override(config, {"training.iterations": 9})
    with caplog.at_level(logging.INFO):
        state = new_state(longer)
        state.load(tmp_path, extends=make_base(longer).extends)
    assert state.step == 4
    assert "The run is lengthened from 4 to 9 iterations" in caplog.text


@pytest.mark.parametrize(
    ("power", "iterations", "message"),
    [
        (1, 9, r"2 are done whose learning rate or stages are those of a run that ends at iteration 4\. Train afresh"),
        (0, 3, r"can only be resumed with the config it was started with, .*training.iterations: 4 there, 3 here"),
    ],
)
def test_refused_with_the_reason(power, iterations, message, tiny, tmp_path):
    config = tiny(changes={**CONSTANT, "optimizer.power": power})
    checkpoint(config, tmp_path, 2)
    other = pgpc.override(config, {"training.iterations": iterations})
    with pytest.raises(ValueError, match=message):
        new_state(other).load(tmp_path, extends=make_base(other).extends)
    with pytest.raises(ValueError, match="can only be resumed with the config it was started with"):
        new_state(other).load(tmp_path)  # as a fork of another run


@pytest.mark.slow
def test_a_lengthened_run_learns_what_the_longer_one_does_bit_for_bit(tiny, tmp_path):
    lengths = {"training.iterations": 2, "training.eval_interval": 99, "contrast.start": 1}
    short = tiny(changes={**CONSTANT, **lengths, "evaluation.criteria_images": 0})
    longer = pgpc.override(short, {"training.iterations": 3})
    pgpc.train(short, out=tmp_path / "a")
    pgpc.train(longer, out=tmp_path / "a", begin=Resume(tmp_path / "a"))
    pgpc.train(longer, out=tmp_path / "b")
    found, expected = (torch.load(tmp_path / name / "checkpoint.pt") for name in "ab")
    parts = ("step", "student", "teacher", "contrast", "optimizer")
    assert equal({part: found[part] for part in parts}, {part: expected[part] for part in parts})
