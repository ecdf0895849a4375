"""Which file ``model.pretrained`` stands for, and that an encoder starts from it."""

from __future__ import annotations

import io
import logging

import pytest
import timm
import torch

from pgpc.models import ModelConfig, check_model
from pgpc.models.pretrained import is_here, weights_file
from tests.helpers.hub import serve, use
from tests.helpers.weights import build_small, equal_entries


def as_file(state: dict[str, torch.Tensor]) -> bytes:
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with NVIDIA's smallest MiT and timm's smallest ResNet, both with other weights than are drawn by seed 0."""
    torch.manual_seed(5)
    repositories = {
        "nvidia/mit-b0": {"pytorch_model.bin": as_file(build_small(5).encoder.state_dict())},
        "timm/resnet10t.c3_in1k": {"pytorch_model.bin": as_file(timm.create_model("resnet10t").state_dict())},
    }
    with serve(repositories) as hub:
        use(monkeypatch, hub.url, tmp_path / "hub")
        yield hub


def test_imagenet_is_what_the_encoder_was_published_with(hub, caplog):
    """NVIDIA's for MiT, whose license is said; timm's for its own, which may be named with their tag."""
    caplog.set_level(logging.INFO)
    assert not is_here(ModelConfig(encoder="mit_b0", pretrained="imagenet"))
    model = build_small(0, pretrained="imagenet")
    donor = build_small(5)
    fits = equal_entries(model, donor)
    assert all(fits[name] for name in fits if name.startswith("encoder."))
    assert not all(fits.values())  # the decoder is drawn
    assert "nvidia/mit-b0" in caplog.text
    assert "no commercial use" in caplog.text
    assert is_here(ModelConfig(encoder="mit_b0", pretrained="imagenet"))
    for encoder in ("resnet10t", "resnet10t.c3_in1k"):
        build_small(0, encoder=encoder, pretrained="imagenet")
    assert "apache-2.0" in caplog.text
    assert len(hub.downloads) == 2


def test_a_repository_is_named_by_hf(hub):
    by_name = weights_file(ModelConfig(encoder="mit_b0", pretrained="hf:nvidia/mit-b0@main"))
    assert by_name == weights_file(ModelConfig(encoder="mit_b0", pretrained="imagenet"))
    with pytest.raises(ValueError, match="a weights file must have names like"):
        build_small(0, encoder="resnet10t", pretrained="hf:nvidia/mit-b0")


def test_random_weights_are_none_and_in_files_of_earlier_versions_nothing(hub):
    for pretrained in (None, ""):
        config = ModelConfig(encoder="mit_b0", pretrained=pretrained)
        assert config.pretrained is None
        assert weights_file(config) is None
        assert is_here(config)
    assert not hub.requests


@pytest.mark.parametrize(
    ("encoder", "pretrained", "message"),
    [
        ("mit_b0", "gone.pth", r"model.pretrained must name a file .* but got 'gone.pth'. There is no such file"),
        ("mit_b0", "hf:nvidia", r"must be named as hf:owner/name"),
        ("swinv2_cr_tiny_224", "imagenet", r"needs an encoder whose weights timm knows on the hub, but got 'swinv2_cr"),
    ],
)
def test_what_names_no_weights_is_refused_without_a_network(encoder, pretrained, message, hub):
    with pytest.raises(ValueError, match=message):
        check_model(ModelConfig(encoder=encoder, pretrained=pretrained))
    assert not hub.requests
