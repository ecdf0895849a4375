import pytest
import torch
import torch.nn.functional as F

from pgpc.models.depthwise import DilatedDepthwiseConv


@pytest.fixture(params=[1, 6, 12])
def layer(request):
    torch.manual_seed(0)
    return DilatedDepthwiseConv(5, 3, dilation=request.param)


def plain(layer, x):
    return F.conv2d(x, layer.weight, padding="same", dilation=layer.dilation, groups=5)


@pytest.mark.parametrize("size", [(16, 16), (7, 20)])  # also a map that is smaller than what the kernel spans
def test_values_and_gradients_are_those_of_torch(layer, size):
    layer.double()
    x = torch.randn(2, 5, *size, dtype=torch.double, requires_grad=True)
    ours, theirs = layer(x), plain(layer, x)
    assert "Depthwise" in ours.grad_fn.name()
    torch.testing.assert_close(ours, theirs)
    g = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(y, (x, layer.weight), g) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_are_computed_only_where_they_are_asked_for(layer):
    x = torch.randn(2, 5, 8, 8)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    x.requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert not layer(x.detach()).requires_grad


def test_low_precision_and_channels_last(layer):
    x = torch.randn(2, 5, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    expected = x.grad.clone()
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    y = layer(last)
    torch.testing.assert_close(y, plain(layer, x))
    y.sum().backward()
    torch.testing.assert_close(last.grad, expected, rtol=0.02, atol=0.02)
