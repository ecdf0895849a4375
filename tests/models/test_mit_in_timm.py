"""Mix Transformers as timm sees them."""

from __future__ import annotations

import timm
import torch

import pgpc.models.mit_in_timm  # noqa: F401  (registers them)
from pgpc.models.mit import build_mit


def test_feature_info():
    info = timm.create_model("mit_b0", features_only=True).feature_info
    assert info.reduction() == [4, 8, 16, 32]
    assert info.channels() == [32, 64, 160, 256]


def test_classifier():
    model = timm.create_model("mit_b0", num_classes=10).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = model.forward_features(images)
        assert features.shape == (2, 256, 2, 2)
        torch.testing.assert_close(model(images), model.head(features.mean((2, 3))))
        assert model.forward_head(features, pre_logits=True).shape == (2, 256)
    model.reset_classifier(0)
    assert model(images).shape == (2, 256)


def test_classifier_and_encoder_share_names():
    classifier = set(timm.create_model("mit_b0").state_dict())
    encoder = set(timm.create_model("mit_b0", features_only=True).state_dict())
    assert classifier - encoder == {"head.weight", "head.bias"}
    assert encoder < classifier


def test_registered_names():
    assert timm.list_models("mit_b*") == [f"mit_b{i}" for i in range(6)]
    assert timm.get_pretrained_cfg("mit_b0").classifier == "head"
    assert not timm.is_model_pretrained("mit_b0"), "the weights' license forbids to fetch them unasked"


def test_an_encoder_is_what_timm_makes_of_the_same_seed():
    torch.manual_seed(0)
    expected = timm.create_model("mit_b0", features_only=True, drop_path_rate=0.1)
    after = torch.rand(())
    torch.manual_seed(0)
    encoder = build_mit("mit_b0", drop_path=0.1)
    assert torch.rand(()) == after
    weights, wanted = encoder.state_dict(), expected.state_dict()
    assert [*weights] == [*wanted]
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    images = torch.rand(2, 3, 64, 64)
    torch.manual_seed(1)
    maps = expected.train()(images)
    torch.manual_seed(1)
    assert all(torch.equal(x, y) for x, y in zip(encoder.train()(images), maps, strict=True))
