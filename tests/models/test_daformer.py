from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pgpc.models import DAFormerHead, ModelConfig, build_model, load_weights


def _head(**options) -> DAFormerHead:
    torch.manual_seed(0)
    return DAFormerHead((4, 6, 8, 10), **{"channels": 8, "num_classes": 5, "dropout": 0.5, **options})


def _features(h: int = 8, w: int = 12) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, c, -(-h // s), -(-w // s)) for c, s in ((4, 1), (6, 2), (8, 4), (10, 8))]


@pytest.fixture
def network(golden, tmp_path):
    """The reference network, loaded the way a user loads a released checkpoint."""
    torch.save({"meta": {}, "state_dict": golden.checkpoint()}, tmp_path / "latest.pth")
    model = build_model(ModelConfig(encoder="mit_b0", dropout=0, drop_path=0))
    assert load_weights(model, tmp_path / "latest.pth").layout == "daformer"
    return model.eval()


@pytest.mark.slow
def test_golden_features_and_logits(network, golden):
    images = golden.images("daformer_b0", (2, 3, 128, 256))
    with torch.no_grad():
        features = network.encoder(images)
        logits = network.decode(features, images).logits
    for name, tensor in zip(("stage1", "stage2", "stage3", "stage4", "logits"), [*features, logits], strict=True):
        difference = abs(golden.thin(name, tensor) - golden.arrays[name]).max()
        assert difference < 1e-4, f"{name} differs by {difference}"


@pytest.mark.slow
def test_golden_argmax(network, golden):
    # In double precision: in single, one of the 65,536 pixels is a tie to the last bit.
    images = golden.images("daformer_b0", (2, 3, 128, 256)).double()
    with torch.no_grad():
        logits = network.double()(images)
    labels = F.interpolate(logits, size=(128, 256), mode="bilinear", align_corners=False).argmax(1)
    assert (labels.numpy() == golden.arrays["argmax"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.float32, 5e-4)])
def test_golden_training_step(network, golden, dtype, tolerance):
    # Gradient norms of two correct float32 implementations differ by up to 1e-4 (order of sums, ReLU at 0).
    images = golden.images("train_step/source", (2, 3, 128, 128)).to(dtype)
    labels = golden.labels("train_step/source", (2, 128, 128))
    logits = network.to(dtype).train()(images)
    logits = F.interpolate(logits, size=(128, 128), mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits, labels, ignore_index=255, reduction="none").mean()
    loss.backward()
    gradients = {name: p.grad.norm().item() for name, p in network.named_parameters()}
    assert loss.item() == pytest.approx(golden.train_step["loss"], rel=1e-6)
    for name, norm in golden.train_step["grad_norm"].items():
        assert gradients[name.replace("backbone.", "encoder.")] == pytest.approx(norm, rel=tolerance), name
    total = sum(norm**2 for norm in gradients.values()) ** 0.5
    assert total == pytest.approx(golden.train_step["total_grad_norm"], rel=tolerance)


def test_parameters_with_the_papers_sizes():
    head = DAFormerHead((64, 128, 320, 512), channels=256, num_classes=19, dropout=0.1)
    assert sum(p.numel() for p in head.parameters()) == 3_712_275


@pytest.mark.parametrize(("h", "w"), [(8, 12), (9, 13), (1, 1)])
def test_logits_have_the_size_of_the_finest_map(h, w):
    assert _head().eval()(_features(h, w)).shape == (2, 5, h, w)


def test_width_of_the_decoder():
    head = _head(channels=16)
    assert head.conv_seg.in_channels == 16
    assert head.fuse_layer.bottleneck.conv.weight.shape == (16, 64, 3, 3)


def test_dropout_drops_whole_channels_in_train_mode_only():
    head, features = _head(), _features()
    seen = []
    head.dropout.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    head.train()(features)
    before, after = seen.pop()
    alive = before.flatten(2).any(-1)
    dropped = (after == 0).flatten(2).all(-1) & alive
    assert dropped.any() and not dropped[alive].all()
    torch.testing.assert_close(after[~dropped & alive], 2 * before[~dropped & alive])
    head.eval()
    torch.testing.assert_close(head(features), head(features), rtol=0, atol=0)


def test_initial_weights():
    head = _head(channels=64, num_classes=200)
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.05) and not head.conv_seg.bias.any()
    fan_out = 64 * 9
    assert head.fuse_layer.bottleneck.conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


def test_wants_as_many_maps_as_it_was_made_for():
    with pytest.raises(ValueError, match="zip"):
        _head()(_features()[:3])
