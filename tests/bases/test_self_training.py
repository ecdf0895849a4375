"""The step on real batches: what it computes, what it changes, what it leaves alone."""

import itertools

import pytest
import torch

import pgpc
from pgpc.bases.losses import cross_entropy
from pgpc.bases.state import TrainingState
from pgpc.data.domains import open_shards
from tests.helpers.precision import double_precision, in_double, show_in_double
from tests.helpers.training import train_step, training_batches


def run(config, steps):
    """A state after some steps, and the scalars of each."""
    state = TrainingState(config, torch.device("cpu"))
    source = open_shards(config.data.source, config.data, "train")
    target = open_shards(config.data.target, config.data, "train") if config.adaptation.enabled else None
    batches = training_batches(config, source, target, rank=0, world_size=1, start_step=0)
    return state, [train_step(state, batch) for batch in itertools.islice(batches, steps)]


def test_cross_entropy_counts_ignored_pixels_in_the_denominator(golden):
    logits = torch.zeros(1, 2, 2, 2)
    labels = torch.tensor([[[0, 255], [255, 255]]])
    assert cross_entropy(logits, labels).item() == pytest.approx(torch.tensor(2.0).log().item() / 4)
    half = torch.full((1, 2, 2), 0.5)
    assert cross_entropy(logits, labels, half).item() == pytest.approx(torch.tensor(2.0).log().item() / 8)


def test_losses_appear_when_the_config_says(tiny):
    _, logs = run(tiny(changes={"contrast.start": 2}), 4)
    assert ["loss/contrast" in log for log in logs] == [False, False, True, True]
    assert all(log["loss/contrast"] > 0 for log in logs[2:])
    assert all({"loss/source", "loss/target", "pseudo_label_weight"} <= log.keys() for log in logs)


def test_the_memory_fills_before_the_loss_starts(tiny):
    filled = []
    for steps in (1, 2, 3):
        state, _ = run(tiny(changes={"contrast.start": 3, "contrast.fill": 2}), steps)
        filled.append(int(state.contrast.source.filled.sum()))
    assert filled[0] == 0 < filled[1] < filled[2]


@pytest.mark.slow
def test_until_the_contrast_starts_pgpc_is_its_base(tiny):
    """The switch of the contrast changes no draw: the networks are equal until the loss has a gradient."""
    ours, _ = run(tiny(changes={"contrast.start": 3, "contrast.fill": 1}), 3)
    base, _ = run(tiny("streets/daformer"), 3)
    for name, value in base.student.segmenter.named_parameters():
        assert torch.equal(value, ours.student.segmenter.get_parameter(name)), name


@pytest.mark.slow
def test_the_optimizer_leaves_the_projection_head_alone_until_the_contrast_starts(tiny):
    config = tiny(changes={"contrast.start": 2, "contrast.fill": 1})
    initial = TrainingState(config, torch.device("cpu")).student.projection.out.weight
    before, _ = run(config, 2)
    assert torch.equal(before.student.projection.out.weight, initial)
    after, _ = run(config, 3)
    state = after.optimizer.state[after.student.projection.out.weight]
    assert state["step"] == 1
    assert not torch.equal(after.student.projection.out.weight, initial)


@pytest.mark.slow
def test_the_contrast_changes_the_encoder(tiny):
    ours, _ = run(tiny(), 3)
    weightless, _ = run(tiny(changes={"contrast.weight": 0.0}), 3)
    name = "encoder.patch_embed1.proj.weight"
    assert not torch.equal(ours.student.segmenter.get_parameter(name), weightless.student.segmenter.get_parameter(name))


@pytest.mark.slow
def test_the_teacher_lags_by_one_step(tiny):
    """The update comes before the passes: a copy of the initial student at step 0, half of the next one at step 1."""
    config = tiny(changes={"optimizer.warmup": 0})
    initial = TrainingState(config, torch.device("cpu")).student
    first, _ = run(config, 1)
    second, _ = run(config, 2)
    moved = 0
    for name, start in initial.named_parameters():
        assert torch.equal(first.teacher.get_parameter(name), start)
        after = first.student.get_parameter(name)
        torch.testing.assert_close(second.teacher.get_parameter(name), (start + after) / 2)
        moved += not torch.equal(start, after)
    assert moved > 50


def test_the_last_pass_sees_source_pixels_pasted_into_target_images(tiny):
    config = tiny(changes={"adaptation.jitter_probability": 0.0, "adaptation.blur_probability": 0.0})
    state = TrainingState(config, torch.device("cpu"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batch = next(training_batches(config, source, target, rank=0, world_size=1, start_step=0))
    seen = []
    state.student.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].images))
    train_step(state, batch)
    mixed = seen[-1]
    pasted = (mixed == batch.source_images).all(1)
    kept = (mixed == batch.target_images).all(1)
    assert (pasted | kept).all()
    assert 0 < (pasted & ~kept).float().mean() < 1


@pytest.mark.slow
def test_no_anchor_lies_in_the_margins(tiny):
    """With margins over all rows but one there are at most as many anchors as that row has pixels at stride 4."""
    config = tiny(changes={"adaptation.ignore_top": 31, "adaptation.ignore_bottom": 32, "contrast.eta": 1.0})
    _, logs = run(config, 2)
    assert logs[-1]["anchors"].sum() == 0  # row 31 is not one of every 4th
    config = tiny(changes={"adaptation.ignore_top": 32, "adaptation.ignore_bottom": 31, "contrast.eta": 1.0})
    _, logs = run(config, 2)
    assert logs[-1]["anchors"].sum() == 2 * 16


@pytest.mark.slow
def test_memory_comes_from_the_teacher(tiny, monkeypatch):
    """Every row that a step adds is one that the teacher's projection head gave in that step."""
    config = tiny()
    state = TrainingState(config, torch.device("cpu"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = training_batches(config, source, target, rank=0, world_size=1, start_step=0)
    given = []
    head = state.teacher.projection
    hidden = head.hidden
    monkeypatch.setattr(head, "hidden", lambda features: seen.append(hidden(features)) or seen[-1])
    for batch in itertools.islice(batches, 3):
        seen = []
        train_step(state, batch)  # which ends before the teacher changes
        given += [head.unit_vectors(x.permute(0, 2, 3, 1)).flatten(0, 2) for x in seen]
    given = torch.cat(given)
    for bank in (state.contrast.source, state.contrast.target_negatives):
        held = torch.cat([bank.rows[c, : bank.filled[c]] for c in range(19)])
        assert len(held) > 100
        nearest = (held @ given.T).amax(dim=1)
        torch.testing.assert_close(nearest, torch.ones_like(nearest), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_source_pixels_of_the_student_need_no_pass_of_the_teacher(tiny):
    config = tiny(changes={"contrast.source_from": "student", "optimizer.warmup": 0, "optimizer.lr": 0.01})
    state = TrainingState(config, torch.device("cpu"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    encoded, shown, given = [], [], []
    state.student.segmenter.encoder.register_forward_hook(lambda _, __, maps: encoded.append(maps))
    state.teacher.register_forward_pre_hook(lambda _, views: shown.extend(views))
    head, bank = state.teacher.projection, state.contrast.source
    for batch in itertools.islice(training_batches(config, source, target), 3):
        encoded.clear()
        shown.clear()
        train_step(state, batch)  # which ends before the teacher changes
        (view,) = shown
        assert torch.equal(view.images, batch.target_images)
        hidden = head.hidden(encoded[0])  # of the pass on the source, the first
        given.append(head.unit_vectors(hidden.permute(0, 2, 3, 1)).flatten(0, 2))
    given, held = torch.cat(given), torch.cat([bank.rows[c, : bank.filled[c]] for c in range(19)])
    assert len(held) > 100
    nearest = (held @ given.T).amax(dim=1)
    torch.testing.assert_close(nearest, torch.ones_like(nearest), rtol=0, atol=1e-6)


@pytest.mark.parametrize("eta", [0.2, 0.7])
def test_eta_is_the_share_of_pixels_that_may_be_anchors(tiny, eta):
    _, logs = run(tiny(changes={"contrast.eta": eta, "adaptation.ignore_bottom": 0}), 2)
    # Of 2 x 16 x 16 pixels at stride 4, which are every 4th of those that eta is the exact share of.
    assert logs[-1]["anchors"].sum().item() == pytest.approx(eta * 512, rel=0.25)


def test_source_only_never_opens_the_target(tiny):
    state, logs = run(tiny("streets/source-only"), 2)
    assert state.teacher is None
    assert [set(log) for log in logs] == [{"loss/source"}] * 2


def test_anchors_on_the_mixed_image_need_no_extra_pass(tiny, monkeypatch):
    passes = []
    config = tiny(changes={"contrast.anchor_view": "mixed"})
    state = TrainingState(config, torch.device("cpu"))
    state.student.register_forward_hook(lambda *_: passes.append(1))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = training_batches(config, source, target, rank=0, world_size=1, start_step=0)
    train_step(state, next(batches))
    passes.clear()
    log = train_step(state, next(batches))
    assert len(passes) == 2  # source and mixed
    assert log["loss/contrast"] > 0


def test_anchors_on_the_mixed_image_are_where_it_shows_the_target(tiny, monkeypatch):
    """With every class of the source pasted nothing of the target is left, and there is nothing to contrast."""
    everything = lambda labels, num_classes, rngs: torch.ones(len(rngs), num_classes + 1, dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr("pgpc.bases.student_images.choose_classes", everything)
    _, logs = run(tiny(changes={"contrast.anchor_view": "mixed"}), 2)
    assert logs[-1]["loss/contrast"] == 0
    assert not logs[-1]["anchors"].any()


@pytest.mark.slow
def test_feature_distance_starts_at_zero_and_grows_as_the_encoder_moves(tiny, tmp_path):
    plain = tiny("streets/daformer", {"optimizer.warmup": 0})
    encoder = TrainingState(plain, torch.device("cpu")).student.segmenter.encoder
    torch.save({f"encoder.{name}": value for name, value in encoder.state_dict().items()}, tmp_path / "encoder.pt")
    changes = {"adaptation.feature_distance_weight": 1.0, "model.pretrained": str(tmp_path / "encoder.pt")}
    config = pgpc.override(plain, changes)
    state = TrainingState(config, torch.device("cpu"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    person = torch.full((2, 64, 64), 11)
    batches = training_batches(config, source, target, rank=0, world_size=1, start_step=0)
    distances = [
        train_step(state, batch._replace(source_labels=person))["loss/feature_distance"].item()
        for batch in itertools.islice(batches, 3)
    ]
    assert distances[0] == 0.0
    assert distances[1] > 0
    assert distances[2] > 0


def test_feature_distance_to_random_weights_is_refused(tiny):
    with pytest.raises(ValueError, match=r"needs an encoder with pretrained weights.*=imagenet or a file"):
        TrainingState(tiny(changes={"adaptation.feature_distance_weight": 0.005}), torch.device("cpu"))


@pytest.mark.slow
def test_bfloat16_activations_give_float32_losses_and_nearly_the_same_values(tiny):
    _, full = run(tiny(), 2)
    state, half = run(tiny(changes={"training.precision": "bfloat16"}), 2)
    for name in ("loss/source", "loss/target", "loss/contrast"):
        if name in half[-1]:
            assert half[-1][name].dtype == torch.float32
            assert half[-1][name].item() == pytest.approx(full[-1][name].item(), rel=0.1)
    assert "loss/contrast" in half[-1]
    assert all(p.dtype == torch.float32 for p in state.student.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["streets/daformer+pgpc", "streets/mic-hrda+pgpc"])
def test_a_step_never_waits_for_the_device(tiny, no_host_sync, name):
    detail = {"model.detail_crop": 32, "adaptation.mask_block": 8} if "hrda" in name else {}
    config = tiny(name, detail)
    state = TrainingState(config, torch.device("cpu"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = list(itertools.islice(training_batches(config, source, target), 3))
    with no_host_sync():
        for batch in batches:
            train_step(state, batch)


def test_the_source_is_not_looked_at_for_a_memory_that_needs_none_of_it(tiny):
    changes = {"contrast.positive": "target_prototype", "contrast.negative": "target"}
    config = tiny(changes=changes)
    state = TrainingState(config, torch.device("cpu"))
    passes = []
    state.teacher.register_forward_pre_hook(lambda _, views: passes.append(views))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = training_batches(config, source, target)
    train_step(state, next(batches))
    batch = next(batches)
    log = train_step(state, batch)
    (view,) = passes[-1]
    assert torch.equal(view.images, batch.target_images)
    assert log["loss/contrast"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["streets/daformer+pgpc", "streets/mic-hrda+pgpc", "streets/daformer"])
def test_merged_passes_learn_the_same(tiny, name):
    still = {"model.dropout": 0.0, "model.drop_path": 0.0, "adaptation.confidence": 0.01, "optimizer.warmup": 0}
    still |= {"model.detail_crop": 32} if "hrda" in name else {}
    found = []
    for merge in (False, True):
        config = tiny(name, {**still, "training.merge_passes": merge})
        with double_precision():
            state, images = TrainingState(config, torch.device("cpu")), []
            show_in_double(state)
            encoder = state.student.segmenter.encoder
            encoder.register_forward_pre_hook(lambda _, args, to=images: to.append(len(args[0])))
            logs = [train_step(state, in_double(b)) for b in itertools.islice(training_batches(config), 2)]
        found.append((logs, {n: p.grad for n, p in state.student.named_parameters() if p.grad is not None}, images))
    (apart, gradients, images), (merged, others, batched) = found
    assert max(images) == 2 < max(batched)
    assert sum(images) == sum(batched)
    for log, other in zip(apart, merged, strict=True):
        torch.testing.assert_close(log, other, rtol=1e-9, atol=1e-12)
    assert gradients.keys() == others.keys()
    total = torch.stack([g.norm() for g in gradients.values()]).norm()
    for parameter, gradient in gradients.items():
        assert (others[parameter] - gradient).norm() <= 1e-9 * gradient.norm() + 1e-12 * total, parameter


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["streets", "streets/mic-hrda+pgpc"])
def test_no_step_on_a_gpu_waits_for_it(tiny, name):
    changes = {"model.detail_crop": 32} if "hrda" in name else {}
    config = tiny(name, changes)
    state = TrainingState(config, torch.device("cuda"))
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    few = itertools.islice(training_batches(config, source, target), 3)
    batches = [batch.to(torch.device("cuda")) for batch in few]
    train_step(state, batches[0])  # constants of the device are made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            train_step(state, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
