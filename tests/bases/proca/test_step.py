"""ProCA: its schedule, its step stage by stage, what comes between them, and whole runs with interruptions."""

import contextlib
import itertools
import logging

import pytest
import torch

import pgpc
from pgpc.bases import make_base
from pgpc.data import transforms
from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.models.student import ForwardRequest
from pgpc.training import Callbacks, Resume
from pgpc.training.begin import FRESH
from pgpc.training.loop import _check_encoder
from tests.helpers.states import equal
from tests.helpers.training import new_state, open_pair, prepare, train_step, training_batches

# Three iterations of each stage; with the contrast, the memory fills in the first of "adapt".
CHANGES = {
    "data.crop": None,
    "data.source_size": (128, 64),
    "data.target_size": (96, 64),
    "model.encoder": "test_efficientnet",
    "optimizer.warmup": 0,
    "optimizer.lr": 1e-3,
    "proca.adapt_lr": 5e-4,
    "proca.source_iterations": 3,
    "proca.source_horizon": 6,
    "proca.self_training_iterations": 3,
    "contrast.start": 4,
    "contrast.fill": 1,
    "training.iterations": 9,
    "training.eval_interval": 1,
}
BASES = ("streets/proca", "streets/proca+pgpc")
LOSSES = {
    "source": {"loss/source", "loss/lovasz"},
    "adapt": {"loss/source", "loss/lovasz", "loss/feature_prototypes", "loss/output_prototypes"},
    "self_training": {"loss/target"},
}


@pytest.fixture
def make(tiny):
    return lambda name="streets/proca", changes=None: tiny(name, {**CHANGES, **(changes or {})})


def start(config):
    """A state, the domains, and the batches of the run."""
    domains = open_pair(config)
    return new_state(config), domains, training_batches(config, *domains)


def run(config, steps):
    state, domains, batches = start(config)
    logs = []
    for batch in itertools.islice(batches, steps):
        prepare(state, *domains)
        logs.append(train_step(state, batch))
    return state, domains, batches, logs


def copies(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_learning_rate_by_hand(make):
    learning_rate = make_base(make(changes={"optimizer.power": 0.9})).learning_rate
    assert learning_rate(0) == pytest.approx(1e-3)
    assert learning_rate(2) == pytest.approx(1e-3 * (1 - 2 / 6) ** 0.9)  # stopped before its horizon
    assert learning_rate(3) == pytest.approx(5e-4)
    assert learning_rate(5) == pytest.approx(5e-4 * (1 / 3) ** 0.9)
    assert learning_rate(6) == pytest.approx(1e-3)
    assert learning_rate(8) == pytest.approx(1e-3 * (1 / 3) ** 0.9)


@pytest.mark.slow
def test_the_heads_learn_faster(make):
    state, *_ = run(make(), 1)
    assert [group["lr"] for group in state.optimizer.param_groups] == pytest.approx([1e-3, 1e-3, 1e-2])


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_each_stage_has_its_losses(make, base):
    _, _, _, logs = run(make(base), 9)
    extra = [set() for _ in range(9)]
    if base.endswith("+pgpc"):
        extra[3:6] = [{"loss/target", "pseudo_label_weight"} for _ in range(3)]
        for later in extra[4:6]:
            later |= {"loss/contrast", "anchors"}
    stages = ["source"] * 3 + ["adapt"] * 3 + ["self_training"] * 3
    assert [set(log) for log in logs] == [LOSSES[stage] | more for stage, more in zip(stages, extra)]
    assert all(value.isfinite().all() for log in logs for value in log.values())


@pytest.mark.slow
def test_prototypes_of_the_whole_source_by_hand(make):
    config = make()
    state, domains, *_ = run(config, 3)
    state.student.eval()
    features, labels = [], []
    for row in range(len(domains[0])):
        image = decode_image(domains[0].image_bytes(row))
        label = decode_label(domains[0].label_bytes(row))
        with torch.no_grad():
            (output,) = state.student(ForwardRequest(transforms.image_tensor(image)[None]))
        features.append(output.features[-1][0].flatten(1).T)
        labels.append(transforms.label_tensor(label)[::8, ::8].flatten())
    features, labels = torch.cat(features), torch.cat(labels)
    state.student.train()
    before = copies(state.student)
    prepare(state, *domains)
    assert same(before, state.student.state_dict())
    assert state.student.training
    assert state.optimizer.state == {}
    means, found = state.base.features.means(), 0
    for c in range(19):
        assert state.base.features.counts[c] == (labels == c).sum()
        if (labels == c).any():
            torch.testing.assert_close(means[c], features[labels == c].mean(0), rtol=1e-4, atol=1e-5)
            found += 1
    assert found > 5
    assert torch.equal(state.base.outputs.counts, state.base.features.counts)  # both are at stride 8


@pytest.mark.slow
def test_prototypes_take_in_the_steps_of_adapt_and_no_others(make):
    state, domains, batches = start(make())
    pixels = []
    for batch in batches:
        prepare(state, *domains)
        train_step(state, batch)
        pixels.append(state.base.features.counts.sum().item())
    assert pixels[:3] == [0, 0, 0]
    assert 0 < pixels[3] < pixels[4] < pixels[5]
    assert pixels[6:] == [pixels[5]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_self_training_starts_afresh_beside_a_frozen_network(make, base):
    config = make(base)
    state, domains, batches, _ = run(config, 6)
    adapted = copies(state.student)
    parameters = list(state.student.parameters())
    prepare(state, *domains)
    assert same(adapted, state.teacher.state_dict())
    assert same(new_state(config).student.state_dict(), state.student.state_dict())
    assert all(a is b for a, b in zip(parameters, state.student.parameters()))  # as the optimizer knows them
    assert state.optimizer.state == {}
    assert (state.base.thresholds <= 0.9).all()
    assert (state.base.thresholds < 0.9).any()
    for batch in itertools.islice(batches, 3):
        train_step(state, batch)
    assert same(adapted, state.teacher.state_dict())
    assert not same(new_state(config).student.state_dict(), state.student.state_dict())


@pytest.mark.slow
def test_labels_of_self_training_need_the_confidence_of_their_class(make):
    """With thresholds that nothing reaches there is nothing to learn."""
    state, domains, batches, _ = run(make(), 6)
    prepare(state, *domains)
    state.base.thresholds.fill_(1.1)
    assert train_step(state, next(batches))["loss/target"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_every_parameter_is_reached_by_the_last_backward_pass(make, base, monkeypatch):
    state, domains, batches = start(make(base))
    reached = []
    step = state.optimizer.step
    monkeypatch.setattr(state.optimizer, "step", lambda: (reached.append(len(seen)), seen.clear(), step()))
    seen = set()
    for name, parameter in state.student.named_parameters():
        parameter.register_hook(lambda _, name=name: seen.add(name))
    for batch in batches:
        prepare(state, *domains)
        train_step(state, batch)
    assert reached == [len(list(state.student.parameters()))] * 9


@pytest.mark.slow
def test_the_projection_head_is_left_alone_outside_the_contrast(make):
    state, domains, batches = start(make("streets/proca+pgpc"))
    head, moved = state.student.projection, []
    for batch in batches:
        prepare(state, *domains)
        before = copies(head.out)
        train_step(state, batch)
        moved.append(not same(before, head.out.state_dict()))
    assert moved == [False] * 4 + [True] * 2 + [False] * 3


@pytest.mark.slow
def test_the_teacher_of_adapt_begins_as_a_copy(make):
    """At the first step of "adapt" it is the student that "source" ended with, not an average since the run's start."""
    state, domains, batches, _ = run(make("streets/proca+pgpc"), 3)
    source = copies(state.student)
    prepare(state, *domains)
    train_step(state, next(batches))
    for name, value in state.teacher.named_parameters():
        assert torch.equal(value, source[name]), name


@pytest.mark.slow
def test_source_pixels_of_the_student_need_no_pass_of_the_teacher(make):
    for name, views in (("teacher", 2), ("student", 1)):
        state, domains, batches = start(make("streets/proca+pgpc", {"contrast.source_from": name}))
        shown = []
        state.teacher.register_forward_pre_hook(lambda _, args, to=shown: to.append(len(args)))
        for batch in itertools.islice(batches, 5):
            prepare(state, *domains)
            train_step(state, batch)
        assert shown[-1] == views
        assert state.contrast.source.filled.any()


@pytest.mark.slow
def test_until_the_contrast_its_switch_changes_nothing_but_the_target_loss(make):
    ours, *_ = run(make("streets/proca+pgpc", {"adaptation.target_weight": 0.0}), 4)
    base, *_ = run(make(), 4)
    for name, value in base.student.segmenter.named_parameters():
        torch.testing.assert_close(value, ours.student.segmenter.get_parameter(name), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_no_step_of_any_stage_makes_the_host_wait(make, no_host_sync):
    state, domains, batches = start(make("streets/proca+pgpc"))
    for batch in batches:
        prepare(state, *domains)
        with no_host_sync():
            train_step(state, batch)


def test_no_run_begins_with_features_beside_their_pixels(make, tmp_path, caplog):
    """One that was begun with them goes on, and says so."""
    state = new_state(make(changes={"model.encoder": "test_resnet"}))
    with pytest.raises(ValueError, match="model.encoder must have shortcuts that stay in place"):
        _check_encoder(state, FRESH)
    assert not caplog.text
    _check_encoder(state, Resume(tmp_path))
    assert "The run goes on with its encoder" in caplog.text
    _check_encoder(new_state(make()), FRESH)


class Stop(Exception):
    pass


def keep(folder, stop_at=None):
    def on_report(metrics, checkpoint):
        if checkpoint is not None:
            (checkpoint / "checkpoint.pt").rename(folder / f"{metrics['iteration']}.pt")
        if metrics["iteration"] == stop_at:
            raise Stop

    return on_report


@pytest.mark.slow
@pytest.mark.parametrize("base", [pytest.param(BASES[0], marks=pytest.mark.long), *BASES[1:]])
def test_a_whole_run_interrupted_anywhere_equals_uninterrupted_bit_for_bit(make, base, tmp_path, caplog):
    """In the middle of each stage and at both boundaries; compared after the next step, or the next boundary."""
    config = make(base)
    with caplog.at_level(logging.INFO, logger="pgpc.bases.proca.preparation"):
        result = pgpc.train(config, out=tmp_path, callbacks=Callbacks(on_report=keep(tmp_path)))
    assert 0 <= result.metrics["mIoU"] <= 100
    progress = [message for message in caplog.messages if message.startswith("Between two stages")]
    assert len(progress) == 2, "the prototypes and the thresholds, once each"
    learned = ("step", "student", "teacher", "contrast", "base", "optimizer")
    for interrupted, compared in ((2, 4), (3, 4), (5, 7), (6, 7), (8, 9)):
        folder = tmp_path / f"from{interrupted}"
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes((tmp_path / f"{interrupted}.pt").read_bytes())
        torch.manual_seed(99)
        with contextlib.suppress(Stop):
            pgpc.train(
                config, out=folder, begin=Resume(folder), callbacks=Callbacks(on_report=keep(folder, stop_at=compared))
            )
        whole, resumed = (torch.load(f / f"{compared}.pt", weights_only=True) for f in (tmp_path, folder))
        for part in learned:
            assert equal(whole[part], resumed[part]), (interrupted, part)
