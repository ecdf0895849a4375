"""Weights that are cast all together, and gradients that come back to them in float32."""

import pytest
import torch
from torch import nn

from pgpc.models import low_precision
from pgpc.models.low_precision import weight_slots, weights_in
from pgpc.models.student import ForwardRequest, Student

HALF = torch.bfloat16
STILL = {"model.dropout": 0.0, "model.drop_path": 0.0}


def made(config, precision, *, autocast=False):
    torch.manual_seed(0)
    contrast = config.contrast
    student = Student(config.model, projection=(contrast.hidden, contrast.dim), precision=precision)
    student._casts_weights &= not autocast
    return student


def gradients(student, images):
    """Logits, unit vectors and gradients of a loss on both."""
    (output,) = student(ForwardRequest(images, project=True))
    vectors = student.unit_vectors(output.hidden.permute(0, 2, 3, 1))
    (output.logits.float().square().mean() + vectors[..., 0].mean()).backward()
    return output.logits.float(), vectors, {name: p.grad for name, p in student.named_parameters()}


def off(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_the_result_is_that_of_autocast_within_rounding(tiny):
    config = tiny(changes=STILL)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact = gradients(made(config, "float32"), images)
    cast = gradients(made(config, "bfloat16", autocast=True), images)
    ours = gradients(made(config, "bfloat16"), images)
    for a, b, c in zip(ours[:2], cast[:2], exact[:2], strict=True):
        # Not equal to the bit: autocast keeps weights of layer norms, and biases, in float32.
        assert 0 < off(a, c) < max(1.5 * off(b, c), 0.01)
        assert off(a, b) < 0.03
    flat = [torch.cat([g.flatten() for g in found[2].values()]) for found in (ours, cast, exact)]
    assert all(gradient.dtype == torch.float32 for gradient in ours[2].values())
    assert 0 < off(flat[0], flat[2]) < 1.5 * off(flat[1], flat[2])


def test_gradients_add_up_in_float32():
    layer = nn.Linear(1, 1, bias=False)
    for x in (1.0, 2.0**-12):  # whose sum bfloat16 would round to 1
        with weights_in(HALF, weight_slots(layer)):
            layer(torch.full((1, 1), x, dtype=HALF)).sum().backward()
    assert layer.weight.grad.item() == 1 + 2.0**-12


def test_weights_are_rounded_once_and_given_back():
    layer = nn.Linear(2, 3)
    weight = layer.weight
    exact = weight.detach().clone()
    with pytest.raises(RuntimeError, match="gone wrong"), weights_in(HALF, weight_slots(layer)):
        assert torch.equal(layer.weight, exact.to(HALF))
        raise RuntimeError("gone wrong")
    assert layer.weight is weight
    assert torch.equal(weight, exact)


def test_what_is_not_used_gets_no_gradient_and_the_others_their_own_strides(monkeypatch):
    monkeypatch.setattr(low_precision, "_CHUNK", 20)  # the first layer has more
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    with weights_in(HALF, weight_slots(network)):
        assert [p.dtype for p in network[1].parameters()] == [torch.float32] * 2
        assert network[2].bias.dtype == HALF
        network[1](network[0](torch.randn(1, 4, 8, 8).to(HALF))).sum().backward()
    assert network[0].weight.grad.stride() == network[0].weight.stride() == (9, 9, 3, 1)
    assert network[2].weight.grad is None


def test_timm_encoders_and_blocks_that_are_computed_again_stay_under_autocast(tiny):
    for changes in ({"model.encoder": "test_convnext"}, {"model.checkpointing": True}):
        student = made(tiny(changes={**STILL, **changes}), "bfloat16")
        with student.in_precision(torch.device("cpu")):
            assert torch.is_autocast_enabled("cpu")
            assert all(p.dtype == torch.float32 for p in student.parameters())
