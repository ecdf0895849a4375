from __future__ import annotations

import pytest
import timm
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pgpc.models import DAFormerHead, ModelConfig, Segmenter, build_model, check_model


def _build(**options) -> Segmenter:
    torch.manual_seed(0)
    return build_model(ModelConfig(**{"encoder": "mit_b0", "head_channels": 16, **options}))


def _images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = build_model(ModelConfig())
    assert sum(p.numel() for p in model.parameters()) == 85_155_283


@pytest.mark.parametrize(("size", "expected"), [((64, 96), (16, 24)), ((70, 45), (18, 12)), ((32, 33), (8, 9))])
def test_logits_are_at_stride_4(size, expected):
    model = _build(num_classes=7).eval()
    with torch.no_grad():
        images = _images(*size)
        logits = model(images)
        features = model.encode(images)
        decoded = model.decode(features, images)
        torch.testing.assert_close(decoded.logits, logits)
    assert decoded.detail is None
    assert model.context(images) is images
    assert model.projected(features) is features
    assert model.projected_channels == model.encoder_channels
    assert not model.align_corners
    assert logits.shape == (2, 7, *expected)


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
    model = _build(encoder=encoder)
    assert model.encoder_channels == channels
    images = _images(64, 96)
    features = model.encoder(images)
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    model(_images(70, 45)).mean().backward()
    assert all(p.grad is not None for p in model.parameters()), "every parameter takes part"


def test_channels_last_encoders_keep_names_and_values():
    model = _build(encoder="swin_tiny_patch4_window7_224").eval()
    plain = timm.create_model("swin_tiny_patch4_window7_224", features_only=True).eval()
    plain.load_state_dict(
        {n: v for n, v in model.encoder.state_dict().items() if n in plain.state_dict()}, strict=False
    )
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in model.encoder.named_parameters()]
    images = _images(224, 224)[:1]
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


@pytest.mark.parametrize(
    "options", [{}, {"architecture": "hrda", "detail_crop": 64}, {"encoder": "test_convnext"}], ids=str
)
def test_checkpointing_changes_memory_and_nothing_else(options):
    options = {**options, "drop_path": 0.5}
    images = _images(64, 64)
    plain, checkpointed = _build(**options).train(), _build(**options, checkpointing=True).train()
    assert list(plain.state_dict()) == list(checkpointed.state_dict())
    logits, gradients, size = _pass(plain, images)
    same_logits, same_gradients, smaller = _pass(checkpointed, images)
    assert torch.equal(logits, same_logits)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same_gradients, strict=True))
    assert smaller < 0.9 * size


def test_checkpointing_acts_in_training_only(monkeypatch):
    model = _build(checkpointing=True)

    def refuse(*args, **kwargs):
        raise AssertionError("checkpointed")

    monkeypatch.setattr("pgpc.models.mit.checkpoint", refuse)
    with torch.no_grad():
        model.train()(_images(32, 32))
    model.eval()(_images(32, 32))
    with pytest.raises(AssertionError, match="checkpointed"):
        model.train()(_images(32, 32))


def test_checkpointing_refuses_batch_norm():
    with torch.device("meta"), pytest.raises(ValueError, match=r"model\.checkpointing .*batch norm.*'resnet10t'"):
        _build(encoder="resnet10t", checkpointing=True)


def test_fake_tensors_and_bfloat16():
    with FakeTensorMode():
        model = _build(drop_path=0.5).train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(torch.zeros(2, 3, 64, 96))
        logits.float().mean().backward()
        assert logits.shape == (2, 19, 16, 24)
    model = _build().eval()
    images = _images(64, 96)
    with torch.no_grad():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model(images).float(), expected, atol=0.01, rtol=0.1)


def test_check_model_builds_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("timm.create_model", None)
    check_model(ModelConfig())
    with pytest.raises(ValueError, match="Did you mean"):
        check_model(ModelConfig(encoder="mit_b9"))
    with pytest.raises(ValueError, match=r"model\.pretrained must name a file"):
        check_model(ModelConfig(pretrained=str(tmp_path / "none.pth")))


def test_names_that_optimizer_groups_and_checkpoints_rely_on():
    names = set(_build().state_dict())
    assert {name.split(".")[0] for name in names} == {"encoder", "decode_head"}
    assert "encoder.block1.0.attn.q.weight" in names
    assert "decode_head.fuse_layer.aspp_modules.1.depthwise_conv.bn.weight" in names


def test_dropout_and_drop_path_act_in_train_mode_only():
    images = _images(64, 64)

    def outputs_differ(model: Segmenter) -> bool:
        # Several runs: with so few blocks, two may drop the same ones.
        return any(not torch.equal(model(images), model(images)) for _ in range(5))

    with torch.no_grad():
        assert outputs_differ(_build(dropout=0, drop_path=0.5).train())
        assert outputs_differ(_build(dropout=0.5, drop_path=0).train())
        assert not outputs_differ(_build(dropout=0, drop_path=0).train())
        assert not outputs_differ(_build(dropout=0.5, drop_path=0.5).eval())


def test_weights_are_drawn_for_the_encoder_then_for_the_head():
    model = _build()
    torch.manual_seed(0)
    encoder = timm.create_model("mit_b0", features_only=True)
    head = DAFormerHead((32, 64, 160, 256), channels=16, num_classes=19, dropout=0.1)
    for made, expected in ((model.encoder, encoder), (model.decode_head, head)):
        assert all(torch.equal(a, b) for a, b in zip(made.parameters(), expected.parameters(), strict=True))


def test_same_seed_gives_same_weights():
    first, second = _build().state_dict(), _build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("mit_b9", r"'mit_b9'\. Did you mean mit_b"),
        ("resnet-50", r"Did you mean resnet50"),
        ("no such thing at all", r"timm\.list_models\(\)"),
        ("vit_tiny_patch16_224", r"strides \(4, 8, 16, 32\), but .* gives \(16, 16, 16, 16\)"),
        ("maxvit_tiny_rw_224", r"any size, but .*divisible by window \(7\)"),
        ("vgg11", r"model\.drop_path=0"),
    ],
)
def test_refuses_encoders_it_cannot_use(encoder, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        _build(encoder=encoder)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 31, 64), (1, 3, 64, 16)])
def test_refuses_images_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match="at least 32"):
        _build()(torch.zeros(shape))


def test_pretrained_loads_the_encoder(tmp_path):
    other = _build()
    torch.manual_seed(9)
    donor = build_model(ModelConfig(encoder="mit_b0", head_channels=16))
    torch.save({**donor.encoder.state_dict(), "head.weight": torch.zeros(1000, 256)}, tmp_path / "mit_b0.pth")
    model = _build(pretrained=str(tmp_path / "mit_b0.pth"))
    for name, value in model.state_dict().items():
        source = donor if name.startswith("encoder.") else other
        assert torch.equal(value, source.state_dict()[name]), name
