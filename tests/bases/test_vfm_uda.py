"""VFM-UDA and VFM-UDA++ beside the figures of their public code, see ``tests/golden/README.md``; and their switches."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pgpc
from pgpc.adaptation.distillation import DistillationHead, feature_loss
from pgpc.adaptation.masking import hidden_patches
from pgpc.bases.losses import upsample
from pgpc.bases.teacher_forward import teacher_forward
from pgpc.data.batch import TargetImages
from pgpc.models.student import ForwardRequest, Student
from pgpc.models.vit.pyramid_head import PyramidHead
from pgpc.optimization.optimizer import make_optimizer, rate_after_warmup
from tests.conftest import FOLDER, Golden, _weight
from tests.helpers.training import new_state, random_batch, train_step

SIDE, STEP = 150, 15
DISTILLED = {
    "adaptation.distillation_weight": 0.1,
    "adaptation.distillation_encoder": "test_vit",
    "adaptation.distillation_pretrained": None,
    "adaptation.distillation_side": 48,
}
TINY = {"model.encoder": "test_vit", "model.image_scale": 1.0, "optimizer.warmup": 0}


@pytest.fixture(scope="module")
def public():
    return json.loads((FOLDER / "vfm_uda.json").read_text())


def weight(name, shape):
    """A weight by its name in the public code, vectors called "weight" about 1."""
    if len(shape) == 1 and name.endswith(".weight"):
        name = name.removesuffix("weight") + "norm.weight"
    return _weight(name, tuple(shape)) * (4 if name == "net.out.weight" else 1)


def their_name(name):
    """A parameter's name in the public code."""
    return name.replace("encoder.vit.", "encoder.").replace("decode_head.", "")


@pytest.fixture(scope="module")
def config():
    changes = {**TINY, "model.image_scale": 1.1, "model.num_classes": 5, "adaptation.confidence": 0.6}
    return pgpc.override(pgpc.preset("streets/vfm-uda"), changes)


@pytest.fixture(scope="module")
def network(config):
    """Our network with the weights that the public code's had."""
    student = Student(config.model, masks_tokens=True)
    for name, parameter in student.segmenter.named_parameters():
        parameter.data.copy_(weight(f"net.{their_name(name)}", parameter.shape))
    student.mask_token.data.copy_(weight("net.token_masking.mask_token", (1, 64))[0])
    return student.eval()


@pytest.fixture(scope="module")
def images():
    smooth = Golden.images("vfm/images", (2, 3, SIDE // 8 * 8, SIDE // 8 * 8))
    return F.interpolate(smooth, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def thin(logits):
    return upsample(logits, (SIDE, SIDE), align_corners=False)[..., ::STEP, ::STEP].flatten()


@torch.no_grad()
def test_logits(public, network, images):
    (output,) = network(ForwardRequest(images))
    torch.testing.assert_close(thin(output.logits), torch.tensor(public["logits"]), atol=1e-4, rtol=1e-4)
    assert network.grid(images) == (10, 10)
    assert network.segmenter.encoder._patches(1024) * 16 == 1120 == public["in_img_size"] * 7


@torch.no_grad()
def test_logits_with_hidden_patches(public, network, images):
    hidden = Golden.normal("vfm/mask", (2, 100)).reshape(2, 10, 10) < 0.5244
    assert hidden.float().mean().item() == pytest.approx(public["masked_share"])
    (output,) = network(ForwardRequest(images, hidden=hidden))
    torch.testing.assert_close(thin(output.logits), torch.tensor(public["masked_logits"]), atol=1e-4, rtol=1e-4)


def test_pseudo_labels(public, network, images, config):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    shown = (torch.sigmoid(images) - mean[:, None, None]) / std[:, None, None]
    valid = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    valid[:, :5] = valid[:, -37:] = False
    adaptation = pgpc.override(config, {"adaptation.ignore_bottom": 0}).adaptation
    seen = teacher_forward(network, TargetImages(shown, valid), None, adaptation=adaptation, contrast=None).pseudo
    expected = public["pseudo"]
    assert seen.labels[..., ::STEP, ::STEP].flatten().tolist() == expected["labels"]
    assert torch.bincount(seen.labels.flatten()).tolist() == pytest.approx(expected["counts"], abs=2)
    assert seen.weight.max().item() == pytest.approx(expected["weight"], abs=1e-4)
    assert (seen.weight == 0).sum().item() == expected["zeros"]


def test_groups_rates_and_decay_of_the_optimizer(public, network):
    """Every parameter has the rate and the decay that it has there, with and without falling rates."""
    plain, falling = public["optimizer"], public["decayed"]
    preset = pgpc.preset("gta5-cityscapes/vfm-uda").optimizer
    for group in make_optimizer(network, preset).param_groups:
        assert preset.lr * group["factor"] == pytest.approx(plain["rates"][0 if group["name"] == "decoder" else 1])
        assert group["weight_decay"] == plain["weight_decay"][0]
    preset = pgpc.preset("gta5-cityscapes/vfm-uda-plusplus").optimizer
    names = {id(p): their_name(name.removeprefix("segmenter.")) for name, p in network.named_parameters()}
    ours = {
        names[id(p)]: preset.lr * group["factor"]
        for group in make_optimizer(network, preset).param_groups
        for p in group["params"]
    }
    theirs = {name: group["lr"] for group in falling["groups"] for name in group["names"]}
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_learning_rate(public):
    config = pgpc.preset("gta5-cityscapes/vfm-uda")
    for step, factor in public["schedule"].items():
        rate = rate_after_warmup(int(step), config.optimizer, config.training.iterations)
        assert rate == pytest.approx(factor * config.optimizer.lr, rel=1e-6)


def test_the_distance_of_the_distillation(public):
    head = DistillationHead(8, 12)
    names = {name: name.replace("layers", "feat_project") for name in head.state_dict()}
    head.load_state_dict({k: weight(f"distill.{names[k]}", v.shape) for k, v in head.state_dict().items()})
    features, wanted = Golden.normal("vfm/feats", (2, 8, 5, 5)), Golden.normal("vfm/frozen", (2, 12, 7, 7))
    assert feature_loss(head(features, (7, 7)), wanted).item() == pytest.approx(
        public["distillation"]["loss"], rel=1e-4
    )


@torch.no_grad()
def test_the_pyramid_decoder(public):
    head = PyramidHead([16] * 4, 5).eval()
    kinds = {"up": "up_conv", "add": "reduce_conv", "smooth": "smooth_conv", "norm": "norm"}
    entries = {}
    for key, value in head.state_dict().items():
        module, _, rest = key.partition(".")
        if module in kinds:
            number, _, rest = rest.partition(".")
            entries[key] = weight(f"up.{kinds[module]}{int(number) + 1}.{rest}", value.shape)
        else:
            entries[key] = weight(f"up.smooth_conv4.{rest}", value.shape) if module == "last" else value
    head.load_state_dict(entries)
    head.out = torch.nn.Identity()  # the figures are of what comes before the classifier
    maps = [Golden.normal(f"vfm/map{i}", (1, 16, 16 // 2**i, 16 // 2**i)) for i in range(4)]
    found = head(maps)[..., ::3, ::3].flatten()
    torch.testing.assert_close(found, torch.tensor(public["pyramid"]["out"]), atol=1e-4, rtol=1e-4)


def test_hidden_patches_are_a_share_of_them_drawn_for_each_image():
    rngs = [np.random.default_rng(i) for i in range(2)]
    hidden = hidden_patches((50, 40), share=0.7, rngs=rngs)
    assert hidden.shape == (2, 50, 40)
    assert hidden.float().mean(dim=(1, 2)) == pytest.approx(0.7, abs=0.05)
    assert not torch.equal(hidden[0], hidden[1])


def test_the_masked_pass_learns_the_mask_token_and_no_other_does(tiny):
    config = tiny("streets/vfm-uda", {**TINY, "adaptation.confidence": 0.01, "training.precision": "float32"})
    state, batch = new_state(config), random_batch(config)
    passes = []
    state.student.register_forward_pre_hook(lambda _, requests: passes.extend(requests))
    log = train_step(state, batch)
    assert [request.hidden is not None for request in passes] == [False, False, True]
    assert log["loss/masked"] > 0
    assert state.student.mask_token.grad.abs().sum() > 0
    assert not torch.equal(passes[0].images, batch.source_images)  # the colors of the source are changed


def test_the_distillation_learns_a_head_that_is_resumed_and_a_frozen_encoder_that_is_not_saved(tiny, tmp_path):
    config = tiny("streets/vfm-uda-plusplus", {**TINY, **DISTILLED})
    state, batch = new_state(config), random_batch(config)
    frozen = [p.clone() for p in state.base.frozen.parameters()]
    head = state.base.head.layers[0].weight.clone()
    log = train_step(state, batch)
    assert log["loss/distillation_source"] > 0
    assert log["loss/distillation_target"] > 0
    assert all(torch.equal(a, b) for a, b in zip(frozen, state.base.frozen.parameters(), strict=True))
    assert not torch.equal(head, state.base.head.layers[0].weight)
    assert {name.split(".")[0] for name in state.base.state_dict()} == {"head"}
    state.save(tmp_path)
    resumed = new_state(config)
    resumed.load(tmp_path)
    ours, theirs = train_step(state, batch), train_step(resumed, batch)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@torch.no_grad()
def test_the_mirrored_mean_of_a_symmetric_image_is_symmetric(tiny):
    config = tiny("streets/vfm-uda", TINY)
    state = new_state(config)
    images = random_batch(config).target_images
    images = torch.cat([images, images.flip(-1)], dim=-1)
    target = TargetImages(images, torch.ones_like(images[:, 0], dtype=torch.bool))
    seen = teacher_forward(state.teacher, target, None, adaptation=config.adaptation, contrast=None)
    assert (seen.pseudo.labels == seen.pseudo.labels.flip(-1)).float().mean() > 0.999


def test_what_takes_no_token_masks_is_refused():
    with pytest.raises(ValueError, match=r"adaptation.mask_unit must be 'block' for an encoder that is no plain"):
        new_state(pgpc.override(pgpc.preset("streets/mic-daformer"), {"adaptation.mask_unit": "token"}))
    with pytest.raises(ValueError, match="adaptation.mask_unit must be 'block' for architecture 'hrda'"):
        pgpc.override(pgpc.preset("streets/mic-hrda"), {"adaptation.mask_unit": "token"})
    with pytest.raises(ValueError, match=r"adaptation.masked_images must be 'target' with adaptation.mask_unit=token"):
        pgpc.override(pgpc.preset("streets/vfm-uda"), {"adaptation.masked_images": "both"})
