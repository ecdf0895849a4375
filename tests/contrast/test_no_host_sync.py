"""A contrast step never makes the host wait for the device; and the tool that says so is not blind."""

import pytest
import torch
from torch.nn import functional as F

from pgpc.contrast import PixelContrast, pixel_contrast, rank_negatives, reliable
from pgpc.contrast.config import ContrastConfig

C, D = 5, 4
SIZES = {"r": 2, "anchors": 6, "negatives": 7, "bank_size": 20, "quota": 9, "pool": 12, "dim": D}


def step(contrast, *, by="entropy", per="image"):
    features = F.normalize(torch.randn(2, D, 6, 6), dim=1)
    logits, usable = torch.randn(2, C, 6, 6), torch.ones(2, 6, 6, dtype=torch.bool)
    sure, labels = reliable(logits, 0.5, by=by, per=per), logits.argmax(1)
    contrast.enqueue_source(features, torch.randint(0, C, (2, 6, 6)), torch.Generator())
    contrast.enqueue_target(features, logits, labels, usable, sure, torch.Generator())
    loss, _ = contrast.loss(features.requires_grad_(), labels, sure, torch.Generator())
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("positive", ["source_prototype", "target_prototype"])
@pytest.mark.parametrize("family", ["hybrid", "pixel_to_pixel", "pixel_to_prototype"])
def test_a_step_of_every_family_does_not_wait(no_host_sync, family, positive):
    contrast = PixelContrast(ContrastConfig(family=family, positive=positive, **SIZES), C)
    with no_host_sync():
        loss = step(contrast)
    assert loss > 0


@pytest.mark.parametrize("changes", [{"pool": 80}, {"negatives_per": "class"}, {"source_negatives": "pixel"}])
def test_no_way_to_have_negatives_waits(no_host_sync, changes):
    contrast = PixelContrast(ContrastConfig(**{**SIZES, **changes}), C)
    with no_host_sync():
        assert step(contrast) is not None


@pytest.mark.parametrize("per", ["image", "batch", "class"])
@pytest.mark.parametrize("by", ["entropy", "confidence"])
def test_no_choice_of_reliable_pixels_waits(no_host_sync, by, per):
    contrast = PixelContrast(ContrastConfig(**SIZES), C)
    with no_host_sync():
        step(contrast, by=by, per=per)


def with_item(logits, r):
    assert logits.isfinite().all().item()
    return rank_negatives(logits, r)


def with_boolean_indexing(logits, r):
    negatives = rank_negatives(logits, r)
    logits[negatives]
    return negatives


@pytest.mark.parametrize("planted", [with_item, with_boolean_indexing])
def test_what_waits_in_a_step_is_found(no_host_sync, monkeypatch, planted):
    monkeypatch.setattr(pixel_contrast, "rank_negatives", planted)
    contrast = PixelContrast(ContrastConfig(**SIZES), C)
    step(contrast)
    with no_host_sync(), pytest.raises(AssertionError, match=r"makes the host wait"):
        step(contrast)


def in_backward(x):
    y = x * 2
    y.register_hook(lambda gradient: gradient * gradient.amax().item())
    y.sum().backward()


WAITS = {
    "item": lambda x, mask: x.sum().item(),
    "bool": lambda x, mask: bool(mask.any()),
    "int": lambda x, mask: int(x.sum()),
    "index": lambda x, mask: range(10)[mask.sum()],
    "tolist": lambda x, mask: x.tolist(),
    "numpy": lambda x, mask: x.numpy(),
    "cpu": lambda x, mask: x.cpu(),
    "mask": lambda x, mask: x[mask],
    "mask, assigned": lambda x, mask: x.__setitem__(mask, -x[:2]),
    "masked_select": lambda x, mask: x.masked_select(mask),
    "nonzero": lambda x, mask: mask.nonzero(),
    "where": lambda x, mask: torch.where(mask),
    "unique": lambda x, mask: x.unique(),
    "equal": lambda x, mask: torch.equal(x, x + 1),
    "allclose": lambda x, mask: torch.allclose(x, x + 1),
    "bincount": lambda x, mask: torch.bincount(x.long()),
    "repeat_interleave": lambda x, mask: x.repeat_interleave(x.long()),
    "in the backward pass": lambda x, mask: in_backward(x.requires_grad_()),
}


@pytest.mark.parametrize("name", WAITS)
def test_refused(no_host_sync, name):
    x, mask = torch.arange(4.0), torch.tensor([True, False, True, False])
    WAITS[name](x, mask)
    with no_host_sync(), pytest.raises(AssertionError, match=r"makes the host wait"):
        WAITS[name](torch.arange(4.0), mask)


def test_allowed(no_host_sync):
    layer = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    with no_host_sync():
        out = layer(torch.randn(3, 4)[torch.tensor([0, 2, 2])])
        torch.where(out > 0, out, 0.0).sum().backward()
        optimizer.step()
        torch.arange(3).repeat_interleave(torch.tensor([1, 0, 2]), output_size=3)
    assert torch.ones(1).tolist() == [1.0]  # outside it nothing is refused
