"""The bases in the training step: HRDA's detail, MIC's masks, and two steps of every preset."""

import itertools

import pytest
import torch

import pgpc
from pgpc.bases.losses import cross_entropy, segmentation_loss
from pgpc.bases.state import TrainingState
from pgpc.data.domains import open_shards
from pgpc.models.student import Outputs
from pgpc.presets import preset_names
from tests.helpers.training import new_state, prepare, train_step, training_batches


def first_batch(config):
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    return next(training_batches(config, source, target, rank=0, world_size=1, start_step=0))


def watch(state):
    """Images and box of every view of the student from now on."""
    passes = []
    state.student.register_forward_pre_hook(lambda _, views: passes.extend((v.images, v.box) for v in views))
    return passes


def test_the_loss_of_hrda_is_nine_tenths_the_fused_and_one_tenth_the_detail(tiny):
    model = tiny("streets/hrda", {"model.detail_crop": 32}).model
    g = torch.Generator().manual_seed(0)
    logits, detail = torch.randn(2, 19, 16, 16, generator=g), torch.randn(2, 19, 8, 8, generator=g)
    labels, weight = torch.randint(0, 19, (2, 64, 64), generator=g), torch.rand(2, 64, 64, generator=g)
    loss = segmentation_loss(
        Outputs([], logits, detail, None), labels, weight, (8, 24), model=model, align_corners=False
    )
    fused = cross_entropy(logits, labels, weight)
    alone = cross_entropy(detail, labels[:, 8:40, 24:56], weight[:, 8:40, 24:56])
    torch.testing.assert_close(loss, 0.9 * fused + 0.1 * alone)


@pytest.mark.slow
def test_every_pass_of_hrda_draws_a_detail_crop_of_its_own(tiny):
    config = tiny("streets/mic-hrda", {"model.detail_crop": 32})
    state = TrainingState(config, torch.device("cpu"))
    passes = watch(state)
    teacher = []
    state.teacher.register_forward_pre_hook(lambda _, views: teacher.extend(view.box for view in views))
    batch = first_batch(config)
    for _ in range(4):
        train_step(state, batch)
    boxes = [box for _, box in passes]
    assert len(boxes) == 3 * 4  # source, mixed, masked
    assert {v for box in boxes for v in box} <= {0, 8, 16, 24}
    assert len(set(boxes)) > 4
    assert any(len(set(boxes[i : i + 3])) == 3 for i in range(0, 12, 3))
    assert teacher == [None] * 4  # covers the whole image


@pytest.mark.slow
def test_the_feature_distance_of_hrda_is_that_of_the_context(tiny, tmp_path):
    plain = tiny("streets/hrda", {"optimizer.warmup": 0, "model.detail_crop": 32})
    encoder = TrainingState(plain, torch.device("cpu")).student.segmenter.encoder
    torch.save({f"encoder.{name}": value for name, value in encoder.state_dict().items()}, tmp_path / "encoder.pt")
    changes = {"adaptation.feature_distance_weight": 1.0, "model.pretrained": str(tmp_path / "encoder.pt")}
    config = pgpc.override(plain, changes)
    state = TrainingState(config, torch.device("cpu"))
    batch = first_batch(config)._replace(source_labels=torch.full((2, 64, 64), 11))
    distances = [train_step(state, batch)["loss/feature_distance"].item() for _ in range(2)]
    assert distances[0] == 0.0
    assert distances[1] > 0


@pytest.mark.slow
def test_mic_masks_all_target_images_after_an_augmentation_of_their_own(tiny):
    sure = {"adaptation.confidence": 0.01}  # all pseudo-labels count from the first step on
    quiet = {"adaptation.jitter_probability": 0.0, "adaptation.blur_probability": 0.0}
    config = tiny("streets/mic-daformer", {**sure, **quiet})
    state = TrainingState(config, torch.device("cpu"))
    passes, batch = watch(state), first_batch(config)
    log = train_step(state, batch)
    masked = passes[-1][0]
    hidden = (masked == 0).all(1)
    assert 0.5 < hidden.float().mean() < 0.9
    assert torch.equal(masked.where(~hidden[:, None], batch.target_images), batch.target_images)
    assert log["loss/masked"] > 0

    loud = TrainingState(tiny("streets/mic-daformer", {"adaptation.jitter_probability": 1.0}), torch.device("cpu"))
    passes = watch(loud)
    train_step(loud, batch)
    shown = (passes[-1][0] != 0).any(1)
    assert (passes[-1][0] != batch.target_images).any(1)[shown].float().mean() > 0.9


def test_mic_on_adverse_weather_masks_half_of_each_domain(tiny, monkeypatch):
    config = tiny("streets/mic-daformer", {"adaptation.masked_images": "both"})
    state = TrainingState(config, torch.device("cpu"))
    passes, batch = watch(state), first_batch(config)
    losses = []
    monkeypatch.setattr(
        "pgpc.bases.self_training.segmentation_loss",
        lambda *args, **options: losses.append(args) or segmentation_loss(*args, **options),
    )
    train_step(state, batch)
    source, target = passes[-1][0]
    for masked, clean in ((source, batch.source_images[0]), (target, batch.target_images[1])):
        hidden = (masked == 0).all(0)
        assert torch.equal(masked.where(~hidden, clean), clean)
        assert hidden.any()
        assert not hidden.all()
    _, labels, weight, _ = losses[-1]
    assert torch.equal(labels[0], batch.source_labels[0])
    assert (weight[0] == 1).all()
    assert (weight[1] < 1).all()


def test_mic_on_adverse_weather_with_one_image_takes_each_domain_in_turn(tiny):
    config = tiny("streets/mic-daformer", {"adaptation.masked_images": "both", "training.batch_size": 1})
    state = TrainingState(config, torch.device("cpu"))
    passes, batch = watch(state), first_batch(config)
    for clean in (batch.source_images, batch.target_images):
        train_step(state, batch)
        masked = passes[-1][0]
        assert torch.equal(masked.where(masked != 0, clean), clean)


def test_source_only_differs_with_pgpc_in_nothing_but_the_contrast(tiny):
    """No image of the target reaches the decoder, whose batch norm would learn the target's statistics."""
    changes = {"contrast.start": 1, "contrast.fill": 0, "model.dropout": 0.0, "optimizer.warmup": 0}
    plain, ours = (
        TrainingState(
            tiny(
                f"streets/source-only{suffix}",
                changes if suffix else {key: value for key, value in changes.items() if not key.startswith("contrast")},
            ),
            torch.device("cpu"),
        )
        for suffix in ("", "+pgpc")
    )
    batch = first_batch(plain.config)
    target = batch._replace(target_images=batch.source_images.flip(-1), target_valid=batch.source_labels != 255)
    for contrasting in (False, True):
        train_step(plain, batch)
        log = train_step(ours, target)
        assert ("loss/contrast" in log) == contrasting
        assert "loss/target" not in log
        theirs = ours.student.segmenter.state_dict()
        equal = all(torch.equal(value, theirs[name]) for name, value in plain.student.segmenter.state_dict().items())
        assert equal != contrasting


@pytest.mark.slow
def test_the_weight_of_the_masked_loss_counts(tiny):
    gradients = []
    for weight in (0.5, 1.0, 2.0):
        config = tiny("streets/mic-daformer", {"adaptation.masked_weight": weight, "adaptation.confidence": 0.01})
        state = TrainingState(config, torch.device("cpu"))
        train_step(state, first_batch(config))
        gradients.append(torch.cat([p.grad.flatten() for p in state.student.parameters()]))
    half, one, two = gradients
    assert (one - half).norm() > 0.01 * one.norm()
    torch.testing.assert_close(two - one, 2 * (one - half), rtol=1e-3, atol=1e-5)


SMALL = {
    "data.source": "streets:source",
    "data.target": "streets:target",
    "model.pretrained": None,
    "model.num_classes": 19,
    "data.target_margins": (0, 0, 0, 0),
    "adaptation.ignore_top": 0,
    "adaptation.mask_block": 8,
    "adaptation.feature_distance_weight": 0.0,
    "data.loader_workers": 0,
    "contrast.fill": 0,
}


def shrink(name, tiny):
    """The preset on tiny images, with a small encoder; all its switches as they are."""
    config = pgpc.preset(name)
    changes = {**SMALL, "data.crop": None if config.data.crop is None else 64}
    if config.model.architecture == "deeplabv2":
        changes |= {"model.encoder": "test_efficientnet"}
    elif config.base == "vfm_uda":
        changes |= {"model.encoder": "test_vit", "adaptation.distillation_encoder": "test_vit"}
        changes |= {"adaptation.distillation_pretrained": None, "adaptation.distillation_side": 32}
        changes |= {"training.batch_size": 2}
    else:
        changes |= {"model.encoder": "mit_b0"}
    if config.model.detail_crop is not None:
        changes |= {"model.detail_crop": 32}
    if config.base == "proca":
        changes |= {
            "proca.source_iterations": 1,
            "proca.self_training_iterations": 1,
            "training.iterations": 3,
            "data.source_size": (128, 64),
        }
    return tiny(name, changes)


def by_speed(name):
    return name if name.startswith("streets") else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*map(by_speed, preset_names())])
def test_two_steps_of_every_preset(name, tiny):
    """The second step has the contrast, where the preset has it, and is ProCA's first against prototypes."""
    config = shrink(name, tiny)
    state = new_state(config)
    before = torch.cat([p.detach().flatten() for p in state.student.segmenter.parameters()]).clone()
    source, target = (open_shards(w, config.data, "train") for w in (config.data.source, config.data.target))
    batches = training_batches(config, source, target, rank=0, world_size=1, start_step=0)
    logs = []
    for batch in itertools.islice(batches, 2):
        prepare(state, source, target)
        logs.append(train_step(state, batch))
    assert all(value.isfinite().all() for log in logs for value in log.values())
    assert ("loss/contrast" in logs[1]) == config.contrast.enabled
    assert "loss/contrast" not in logs[0]
    after = torch.cat([p.detach().flatten() for p in state.student.segmenter.parameters()])
    assert after.isfinite().all()
    assert not torch.equal(before, after)
