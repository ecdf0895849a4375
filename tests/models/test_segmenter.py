from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pgpc.models import Segmenter
from tests.helpers.networks import build, random_images


@pytest.mark.parametrize(("size", "expected"), [((64, 96), (16, 24)), ((70, 45), (18, 12)), ((32, 33), (8, 9))])
def test_logits_are_at_stride_4(size, expected):
    model = build(num_classes=7).eval()
    with torch.no_grad():
        images = random_images(*size)
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


@pytest.mark.slow
def test_fake_tensors_and_bfloat16():
    with FakeTensorMode():
        model = build(drop_path=0.5).train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(torch.zeros(2, 3, 64, 96))
        logits.float().mean().backward()
        assert logits.shape == (2, 19, 16, 24)
    model = build().eval()
    images = random_images(64, 96)
    with torch.no_grad():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model(images).float(), expected, atol=0.01, rtol=0.1)


def test_names_that_optimizer_groups_and_checkpoints_rely_on():
    names = set(build().state_dict())
    assert {name.split(".")[0] for name in names} == {"encoder", "decode_head"}
    assert "encoder.block1.0.attn.q.weight" in names
    assert "decode_head.fuse_layer.aspp_modules.1.depthwise_conv.bn.weight" in names


@pytest.mark.slow
def test_dropout_and_drop_path_act_in_train_mode_only():
    images = random_images(64, 64)

    def outputs_differ(model: Segmenter) -> bool:
        # Several runs: with so few blocks, two may drop the same ones.
        return any(not torch.equal(model(images), model(images)) for _ in range(5))

    with torch.no_grad():
        assert outputs_differ(build(dropout=0, drop_path=0.5).train())
        assert outputs_differ(build(dropout=0.5, drop_path=0).train())
        assert not outputs_differ(build(dropout=0, drop_path=0).train())
        assert not outputs_differ(build(dropout=0.5, drop_path=0.5).eval())


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 3, 31, 64), (1, 3, 64, 16)])
def test_refuses_images_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match="at least 32"):
        build()(torch.zeros(shape))
