"""Training in float16: losses are scaled, steps whose gradients overflow are skipped, and the scale is kept."""

from __future__ import annotations

import math

import pytest
import torch

from pgpc.bases.passes import backward_of, begin_step, end_step
from pgpc.models.checkpoint import read_checkpoint
from pgpc.training.metrics import SKIPPED, NonFiniteLoss, check_parameters, check_scale, scalars_of
from tests.helpers.training import SMALL, new_state, train_step, training_batches

HALF = {**SMALL, "training.precision": "float16"}
PLAIN = {"model.encoder": "test_resnet"}
"""Without depthwise convolutions, which take CPUs seconds each in float16."""


def step_on(state, factor):
    """A step whose gradients are `factor` everywhere."""
    before = [p.detach().clone() for p in state.student.parameters()]
    begin_step(state, 0.01)
    backward_of(state, sum(p.sum() for p in state.student.parameters()) * factor)
    end_step(state, projected=True)
    return [p.detach() - q for p, q in zip(state.student.parameters(), before, strict=True)]


def test_the_scale_changes_no_step(tiny):
    """Gradients are scaled down again before the optimizer sees them, which SGD would show."""
    sgd = {"optimizer.algorithm": "sgd", "optimizer.momentum": 0.0, "optimizer.weight_decay": 0.0}
    moves = [step_on(new_state(tiny(changes={**sgd, **changes})), 0.5) for changes in (SMALL, HALF)]
    for plain, scaled in zip(*moves, strict=True):
        torch.testing.assert_close(scaled, plain)
    assert moves[0][0].abs().max() > 0


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
def test_a_step_that_overflows_is_skipped_and_the_scale_halved(tiny, algorithm):
    state = new_state(tiny(changes={**HALF, "optimizer.algorithm": algorithm}))
    scale = state.scaler.get_scale()
    assert not any(move.any() for move in step_on(state, math.inf))
    assert state.skipped
    assert state.step == 1  # batches and schedules go by the number
    assert state.scaler.get_scale() == scale / 2
    assert any(move.any() for move in step_on(state, 1e-3))
    assert not state.skipped


def test_the_losses_of_a_skipped_step_are_no_divergence(tiny):
    state, values = new_state(tiny(changes=HALF)), {"loss/source": torch.tensor(math.nan)}
    state.skipped = True
    assert {name: value.item() for name, value in scalars_of(state, values).items()} == {SKIPPED: 1.0}
    state.skipped = False
    assert scalars_of(state, values).keys() == {"loss/source", SKIPPED}  # a step that was done has diverged
    assert scalars_of(new_state(tiny(changes=SMALL)), values) is values


def test_gradients_that_overflow_on_every_scale_end_the_run(tiny):
    state = new_state(tiny(changes=HALF))
    for _ in range(16):
        step_on(state, math.nan)
        check_scale(state)
    step_on(state, math.nan)
    with pytest.raises(NonFiniteLoss, match=r"before iteration 17 were infinite or NaN in float16 on every"):
        check_scale(state)


@pytest.mark.parametrize(
    ("what", "find"),
    [
        ("The network's weights", lambda state: next(state.student.parameters()).data),
        ("Running statistics", lambda state: dict(state.student.named_buffers())["projection.bn.running_var"]),
        ("Running statistics", lambda state: dict(state.teacher.named_buffers())["projection.bn.running_mean"]),
        ("The memory bank's vectors", lambda state: dict(state.contrast.named_buffers())["target_negatives.rows"]),
    ],
)
def test_what_a_skipped_step_has_spoilt_ends_the_run(tiny, what, find):
    """Activations that overflow reach the running statistics, which only evaluation reads, and the memory bank."""
    state = new_state(tiny(changes=HALF))
    check_parameters(state)
    find(state).view(-1)[0] = math.inf
    with pytest.raises(NonFiniteLoss, match=rf"{what} became infinite or NaN .*training.precision=float32"):
        check_parameters(state)


def test_the_scale_is_part_of_the_state(tiny, tmp_path):
    config = tiny(changes=HALF)
    state = new_state(config)
    step_on(state, math.inf)
    state.save(tmp_path)
    other = new_state(config)
    other.load(tmp_path)
    assert other.scaler.state_dict() == state.scaler.state_dict()
    step_on(other, 1e-3)
    assert other.scaler.get_scale() == state.scaler.get_scale() == 2.0**15


def test_other_precisions_have_no_scale(tiny, tmp_path):
    """Nor do files of earlier versions."""
    state = new_state(tiny(changes=SMALL))
    loss = torch.ones((), requires_grad=True)
    assert state.scaler.scale(loss) is loss
    state.save(tmp_path)
    assert read_checkpoint(tmp_path)["scaler"] == {}
    half = new_state(tiny(changes=HALF))
    half.load_scaler({})
    half.load_scaler({"scaler": {}})
    assert half.scaler.get_scale() == 2.0**16


@pytest.mark.slow
def test_a_step_in_float16_has_the_loss_of_one_in_float32(tiny):
    changes = {**PLAIN, "training.batch_size": 1, "optimizer.warmup": 0}
    states = [new_state(tiny("streets/source-only", {**extra, **changes})) for extra in (SMALL, HALF)]
    batch = next(training_batches(states[0].config))
    full, half = (train_step(state, batch)["loss/source"] for state in states)
    assert half.dtype == torch.float32
    assert half != full
    torch.testing.assert_close(half, full, rtol=0.01, atol=0.01)
    assert not states[1].skipped
