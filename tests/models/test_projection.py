from __future__ import annotations

import torch
import torch.nn.functional as F

from pgpc.models import ProjectionHead

CHANNELS = (4, 6, 8, 10)


def _features(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(1)
    sizes = ((9, 13), (5, 7), (3, 4), (2, 2))
    return [torch.randn(2, c, *size, dtype=dtype) for c, size in zip(CHANNELS, sizes, strict=True)]


def _head(dtype: torch.dtype = torch.float64) -> ProjectionHead:
    torch.manual_seed(0)
    return ProjectionHead(CHANNELS, hidden=12, dim=7).to(dtype)


def _naive(head: ProjectionHead, features: list[torch.Tensor]) -> torch.Tensor:
    """The same function as published: resize, concatenate, then one convolution."""
    resized = [F.interpolate(f, size=(9, 13), mode="bilinear", align_corners=False) for f in features]
    weight = torch.cat([level.weight for level in head.levels], dim=1)
    hidden = F.relu(head.bn(F.conv2d(torch.cat(resized, dim=1), weight)))
    out = head.out(hidden)
    return out / out.norm(dim=1, keepdim=True)


def test_equals_the_naive_form_in_value_and_gradient():
    head, features = _head(), _features()
    for f in features:
        f.requires_grad_()
    weights = torch.randn(2, 7, 9, 13, dtype=torch.float64)
    results = []
    for function in (lambda x: head(x), lambda x: _naive(head, x)):
        out = function(features)
        results.append((out, torch.autograd.grad((out * weights).sum(), [*features, *head.parameters()])))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_projections_are_unit_vectors_of_either_sign():
    out = _head(torch.float32)(_features(torch.float32))
    assert out.shape == (2, 7, 9, 13)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2, 9, 13))
    assert (out < 0).any(), "no ReLU may stand behind the last convolution"


def test_parameters_are_those_of_one_convolution_over_the_concatenation():
    head = ProjectionHead((64, 128, 320, 512), hidden=256, dim=256)
    expected = 1024 * 256 + 2 * 256 + 256 * 256 + 256
    assert sum(p.numel() for p in head.parameters()) == expected
