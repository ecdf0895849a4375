"""The light decoder: its layers by hand, and logits that lie on the pixels of the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pgpc.models.vit.light import LightHead, LightSegmenter
from pgpc.models.vit.plain import PlainEncoder
from tests.helpers.networks import build, random_images
from tests.helpers.patches import Patches


def norm(x, weight, bias):
    mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None]


def test_layers_by_hand():
    """As published: two doublings with a norm each, an activation behind the first only, 3 x 3, norm, classifier."""
    torch.manual_seed(0)
    head = LightHead(16, 5)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)
    first, a, _, second, b, conv, c = head.upscale
    tokens = torch.randn(2, 16, 3, 4)
    x = F.gelu(norm(F.conv_transpose2d(tokens, first.weight, stride=2), a.weight, a.bias))
    x = norm(F.conv_transpose2d(x, second.weight, stride=2), b.weight, b.bias)
    x = norm(F.conv2d(x, conv.weight, padding=1), c.weight, c.bias)
    expected = F.conv2d(x, head.out.weight)
    assert expected.shape == (2, 5, 12, 16)
    torch.testing.assert_close(head(tokens), expected)
    assert [name for name, _ in head.named_parameters() if name.endswith("bias")] == [
        f"upscale.{i}.bias" for i in (1, 4, 6)
    ]
    assert abs(LightHead(768, 19).out.weight.std().item() - 0.1) < 0.01


def test_logits_have_four_times_the_resolution_of_the_tokens_and_forward_that_of_all_networks():
    model = build(encoder="test_vit", architecture="vit_light", num_classes=5).eval()
    with torch.no_grad():
        images = random_images(75, 91)
        assert [x.shape[1:] for x in model.encode(images)] == [(64, 5, 6)]
        assert model.segment(images).shape == (2, 5, 20, 24)
        assert model(images).shape == (2, 5, 19, 23)
    assert model.last_block == 0
    assert model.projected_channels == (64,)


@pytest.mark.parametrize("patch", [14, 16])
def test_logits_lie_on_their_pixels(patch):
    """Logits that say where their patch is say where their pixel is, whatever the patch: the stretching is undone."""
    encoder = PlainEncoder(Patches(patch), pyramid=False)

    class Repeat(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens[:, :2].repeat_interleave(4, 2).repeat_interleave(4, 3)

    model = LightSegmenter(encoder, Repeat(), encoder_channels=encoder.channels)
    w = 512
    x = (torch.arange(w) + 0.5).expand(64, w)
    logits = F.interpolate(model.segment(x.expand(1, 3, 64, w)), size=(64, w), mode="bilinear", align_corners=False)
    error = (logits[0, 0] - x).abs().max()
    assert error <= patch / 2 + 1
