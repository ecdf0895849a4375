from __future__ import annotations

import dataclasses

import pytest
import timm
import torch

from pgpc.models import ModelConfig, Segmenter, check_model
from pgpc.models.deeplab import DILATED_STRIDES
from pgpc.models.encoder import _find_way, _without_trace, build_encoder
from tests.helpers.networks import build, random_images


def test_finding_out_how_an_encoder_is_made_draws_no_numbers():
    """A network is the same whether or not the process has made one of its kind before."""
    before = torch.get_rng_state()
    with _without_trace():
        torch.rand(3, device="cpu")  # as models do that leave their weights on the device that they name
        assert torch.empty(3).is_meta
    assert torch.equal(torch.get_rng_state(), before)
    _find_way.cache_clear()
    for encoder in ("test_efficientnet", "test_efficientnet"):
        _find_way(encoder, (4, 8, 16, 32), 0.0)
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "channels"),
    [
        ("mit_b0", (32, 64, 160, 256)),
        ("pvt_v2_b0", (32, 64, 160, 256)),
        ("test_convnext", (24, 32, 48, 64)),
        ("resnet10t", (64, 128, 256, 512)),  # has a fifth map, at stride 2
        ("swin_tiny_patch4_window7_224", (96, 192, 384, 768)),  # channels last, weights of one size
    ],
)
def test_any_hierarchical_backbone_of_timm(encoder, channels):
    model = build(encoder=encoder)
    assert model.encoder_channels == channels
    images = random_images(64, 96)
    features = model.encoder(images)
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    model(random_images(70, 45)).mean().backward()
    assert all(p.grad is not None for p in model.parameters()), "every parameter takes part"


@pytest.mark.slow
def test_channels_last_encoders_keep_names_and_values():
    model = build(encoder="swin_tiny_patch4_window7_224").eval()
    plain = timm.create_model("swin_tiny_patch4_window7_224", features_only=True).eval()
    plain.load_state_dict(
        {n: v for n, v in model.encoder.state_dict().items() if n in plain.state_dict()}, strict=False
    )
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.encoder.named_parameters()]
    images = random_images(224, 224)[:1]
    with torch.no_grad():
        for ours, theirs in zip(model.encoder(images), plain(images), strict=True):
            torch.testing.assert_close(ours, theirs.movedim(-1, 1))


def _pass(model: Segmenter, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor], int]:
    """Logits, gradients and bytes kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(3)  # of stochastic depth
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        logits = model(images)
    logits.square().mean().backward()
    return logits.detach(), [p.grad for p in model.parameters()], sum(kept.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"architecture": "hrda", "detail_crop": 64}, {"encoder": "test_convnext"}], ids=str
)
def test_checkpointing_changes_memory_and_nothing_else(options):
    options = {**options, "drop_path": 0.5}
    images = random_images(64, 64)
    plain, checkpointed = build(**options).train(), build(**options, checkpointing=True).train()
    assert list(plain.state_dict()) == list(checkpointed.state_dict())
    logits, gradients, size = _pass(plain, images)
    same_logits, same_gradients, smaller = _pass(checkpointed, images)
    assert torch.equal(logits, same_logits)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same_gradients, strict=True))
    assert smaller < 0.9 * size


def test_checkpointing_acts_in_training_only(monkeypatch):
    model = build(checkpointing=True)

    def refuse(*args, **kwargs):
        raise AssertionError("checkpointed")

    monkeypatch.setattr("pgpc.models.mit.checkpoint", refuse)
    with torch.no_grad():
        model.train()(random_images(32, 32))
    model.eval()(random_images(32, 32))
    with pytest.raises(AssertionError, match="checkpointed"):
        model.train()(random_images(32, 32))


def test_checkpointing_refuses_batch_norm():
    with torch.device("meta"), pytest.raises(ValueError, match=r"model\.checkpointing .*batch norm.*'resnet10t'"):
        build(encoder="resnet10t", checkpointing=True)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("mit_b9", r"'mit_b9'\. Did you mean mit_b"),
        ("resnet-50", r"Did you mean resnet50"),
        ("no such thing at all", r"timm\.list_models\(\)"),
        ("test_vit.r161", r"must have a tag of weights .* of 'test_vit' .* There are test_vit.r160_in1k"),
        ("beit_base_patch16_224", r"any size, but timm's 'beit_base_patch16_224' does not"),
        ("maxvit_tiny_rw_224", r"any size, but .*divisible by window \(7\)"),
        ("vgg11", r"model\.drop_path=0"),
    ],
)
def test_refuses_encoders_it_cannot_use(encoder, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        build(encoder=encoder)


@pytest.mark.parametrize("encoder", ["test_resnet", "resnet10t", "resnet50d", "resnet101d"])
def test_encoders_whose_dilated_shortcuts_shift_are_refused(encoder):
    config = ModelConfig(architecture="deeplabv2", encoder=encoder, drop_path=0.0)
    with pytest.raises(
        ValueError, match=rf"stay in place when 'deeplabv2' dilates it, but those of '{encoder}'.*'resnet101'"
    ):
        check_model(config)
    check_model(dataclasses.replace(config, architecture="daformer"))  # at stride 32 nothing is dilated


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50", "resnet101", "test_efficientnet"])
def test_encoders_whose_dilated_shortcuts_stay_in_place_are_taken(encoder):
    check_model(ModelConfig(architecture="deeplabv2", encoder=encoder, drop_path=0.0))


@pytest.mark.parametrize(("encoder", "shift"), [("test_resnet", 10.0), ("resnet18", 0.0)])
def test_how_far_dilated_shortcuts_shift(encoder, shift):
    """Averages of 2 x 2 cells: one at stride 4, which lies 2 pixels off, and two at stride 8, 4 pixels each.

    All other weights are alike and the branches beside the shortcuts are 0, so that the gradient of a cell has its
    center where the cell looks.
    """
    network, _ = build_encoder(encoder, strides=DILATED_STRIDES, drop_path=0.0, checkpointing=False)
    for module in network.eval().modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        for child, other in module.named_children():
            if isinstance(other, torch.nn.MaxPool2d):  # the first of equals, which is not in the middle
                setattr(module, child, torch.nn.AvgPool2d(3, 2, 1))
    for block in network.modules():
        if hasattr(block, "zero_init_last"):
            block.zero_init_last()
    images = torch.ones(1, 3, 128, 128, requires_grad=True)
    network(images)[-1][0, :, 8, 8].sum().backward()
    seen = images.grad[0].sum(dim=(0, 1))
    center = (seen * torch.arange(128)).sum() / seen.sum()
    assert center.item() - 8 * 8 == pytest.approx(shift, abs=0.01)
