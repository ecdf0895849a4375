"""What may stand in the way of the contrast: an untrained head, stale rows, statistics that adapt by themselves."""

import itertools

import pytest
import torch

from pgpc.bases import make_base
from pgpc.bases.passes import begin_step
from tests.helpers.training import new_state, train_step, training_batches

FILLING = {"contrast.start": 2, "contrast.fill": 1}


def run(config, steps):
    state = new_state(config)
    return state, [train_step(state, batch) for batch in itertools.islice(training_batches(config), steps)]


@pytest.mark.parametrize("view", ["target", "mixed"])
def test_while_the_bank_fills_the_head_can_learn_alone(tiny, view):
    """The last step is of the filling: the head has moved, by one step, and the loss sends the encoder nothing."""
    still = {**FILLING, "contrast.anchor_view": view, "model.dropout": 0.0, "model.drop_path": 0.0}
    initial = new_state(tiny(changes=still)).student.projection
    plain, _ = run(tiny(changes=still), 2)
    ours, logs = run(tiny(changes={**still, "contrast.fill_trains_head": True}), 2)
    assert ["loss/contrast" in log for log in logs] == [False, True]
    assert ours.optimizer.state[ours.student.projection.out.weight]["step"] == 1
    for name, _ in ours.student.projection.named_parameters():
        assert torch.equal(plain.student.projection.get_parameter(name), initial.get_parameter(name)), name
    assert not torch.equal(ours.student.projection.out.weight, initial.out.weight)
    for name, value in ours.student.segmenter.named_parameters():
        assert torch.equal(value, plain.student.segmenter.get_parameter(name)), name


def test_the_bank_is_cleared_once_at_the_start(tiny):
    """Rows are few enough that none is overwritten: after the start there are those of its iterations only."""
    changes = {"contrast.start": 3, "contrast.fill": 2, "contrast.bank_size": 512, "contrast.quota": 4}
    rows = {}
    for clear in (False, True):
        config = tiny(changes={**changes, "contrast.clear_at_start": clear})
        state = new_state(config)
        rows[clear] = []
        for batch in itertools.islice(training_batches(config), 4):
            train_step(state, batch)
            rows[clear].append(int(state.contrast.target_negatives.filled.max()))
    assert rows == {False: [0, 4, 8, 12], True: [0, 4, 8, 4]}


@pytest.mark.slow
def test_frozen_statistics_train_the_same_weights_and_differ_in_running_statistics_alone(tiny):
    changes = {"model.encoder": "resnet18", "training.merge_passes": False, **FILLING}
    found = {
        kind: run(tiny(changes={**changes, "contrast.clean_statistics": kind}), 3)[0].student
        for kind in ("updated", "frozen")
    }
    for name, value in found["updated"].named_parameters():
        assert torch.equal(value, found["frozen"].get_parameter(name)), name
    norms = {
        kind: next(m for m in student.segmenter.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))
        for kind, student in found.items()
    }
    assert not torch.equal(norms["updated"].running_mean, norms["frozen"].running_mean)
    # Source and mixed images of three steps, and the clean images of one.
    assert {kind: int(norm.num_batches_tracked) for kind, norm in norms.items()} == {"updated": 7, "frozen": 6}


@pytest.mark.parametrize("key", [{"contrast.fill_trains_head": True}, {"contrast.clean_statistics": "frozen"}])
def test_a_base_without_the_extra_pass_refuses_what_would_do_nothing(tiny, key):
    (name,) = key
    short = {
        "training.iterations": 3,
        "proca.source_iterations": 1,
        "proca.self_training_iterations": 1,
        "contrast.fill": 0,
    }
    config = tiny("streets/proca+pgpc", {**short, "data.crop": None, **key})
    with pytest.raises(ValueError, match=rf"{name} must be .* with base=proca, which has no pass of its own"):
        make_base(config)


def test_the_warmup_of_the_head_begins_where_it_begins_to_learn(tiny):
    """Of four iterations that warm it up the head has had two when the contrast starts, or is at its first."""
    changes = {"contrast.start": 2, "contrast.fill": 2, "contrast.head_warmup": 4, "optimizer.warmup": 0}
    for trains, expected in ((True, 3 / 4), (False, 1 / 4)):
        state = new_state(tiny(changes={**changes, "contrast.fill_trains_head": trains}))
        state.step = 2
        begin_step(state, 1.0)
        rates = {group["name"]: group["lr"] for group in state.optimizer.param_groups}
        assert rates["projection"] / rates["decoder"] == pytest.approx(expected)
