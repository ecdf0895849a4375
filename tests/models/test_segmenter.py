from __future__ import annotations

import pytest
import torch

from pgpc.models import ModelConfig, Segmenter, build_model


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
        torch.testing.assert_close(model.decode(model.encoder(images)), logits)
    assert logits.shape == (2, 7, *expected)


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [
        ("mit_b0", (32, 64, 160, 256)),
        ("pvt_v2_b0", (32, 64, 160, 256)),
        ("test_convnext", (24, 32, 48, 64)),
        ("resnet10t", (64, 128, 256, 512)),  # has a fifth map, at stride 2
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
    model(images).mean().backward()
    assert all(p.grad is not None for p in model.parameters()), "every parameter takes part"


def test_names_that_optimiser_groups_and_checkpoints_rely_on():
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
        ("swin_tiny_patch4_window7_224", r"\(B, C, H, W\), but .*NHWC"),
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
