from __future__ import annotations

import pytest
import torch

from pgpc.models import DAFormerHead, ModelConfig, build_model, check_model
from pgpc.models.mit import build_mit
from tests.helpers.networks import build


@pytest.mark.slow
def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = build_model(ModelConfig())
    assert sum(p.numel() for p in model.parameters()) == 85_155_283


def test_check_model_finds_what_keeps_a_network_from_being_built(tmp_path):
    state = torch.get_rng_state()
    check_model(ModelConfig(encoder="mit_b0"))
    for changes, message in (
        ({"encoder": "mit_b9"}, "Did you mean"),
        ({"pretrained": str(tmp_path / "none.pth")}, r"model\.pretrained must name a file"),
        ({"encoder": "legacy_xception", "drop_path": 0.0}, "maps have"),
        (
            {"encoder": "mit_b0", "architecture": "deeplabv2"},
            "can be dilated .* 'mit_b0' ends at 32",
        ),
        ({"encoder": "resnet10t", "checkpointing": True}, "batch norm"),
    ):
        with pytest.raises(ValueError, match=message):
            check_model(ModelConfig(**changes))
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_drawn_for_the_encoder_then_for_the_head():
    model = build()
    torch.manual_seed(0)
    encoder = build_mit("mit_b0")
    head = DAFormerHead((32, 64, 160, 256), channels=16, num_classes=19, dropout=0.1)
    for made, expected in ((model.encoder, encoder), (model.decode_head, head)):
        assert all(torch.equal(a, b) for a, b in zip(made.parameters(), expected.parameters(), strict=True))


def test_same_seed_gives_same_weights():
    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pretrained_loads_the_encoder(tmp_path):
    other = build()
    torch.manual_seed(9)
    donor = build_model(ModelConfig(encoder="mit_b0", head_channels=16))
    torch.save({**donor.encoder.state_dict(), "head.weight": torch.zeros(1000, 256)}, tmp_path / "mit_b0.pth")
    model = build(pretrained=str(tmp_path / "mit_b0.pth"))
    for name, value in model.state_dict().items():
        source = donor if name.startswith("encoder.") else other
        assert torch.equal(value, source.state_dict()[name]), name
