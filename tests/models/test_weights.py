from __future__ import annotations

import pytest
import torch

from pgpc.models import load_encoder, load_weights
from tests.helpers.weights import as_daformer, build_small, equal_entries


@pytest.mark.parametrize(
    ("layout", "content"),
    [
        ("pgpc", lambda own, other: own),
        ("daformer", lambda own, other: as_daformer(own)),
        ("daformer", lambda own, other: {"state_dict": as_daformer(own), "meta": {"epoch": 1}}),
        ("daformer teacher", lambda own, other: as_daformer(own, "ema_model.")),
        (
            "daformer student",
            lambda own, other: {
                "state_dict": {
                    **as_daformer(other, "ema_model."),
                    **as_daformer(own, "model."),
                    **as_daformer(other, "imnet_model."),
                }
            },
        ),
    ],
)
def test_whole_networks(model, donor, tmp_path, layout, content):
    own, other = donor.state_dict(), build_small(3).state_dict()
    torch.save(content(own, other), tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth")
    assert all(equal_entries(model, donor).values())
    assert report.layout == layout
    assert set(report.matched) == set(own)
    assert report.missing == report.unexpected == report.mismatched == ()


@pytest.mark.parametrize("nest", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s}])
def test_imagenet_files_load_the_encoder_only(model, donor, tmp_path, nest):
    classifier = {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    torch.save(nest({**donor.encoder.state_dict(), **classifier}), tmp_path / "mit_b0.pth")
    before = {name: value.clone() for name, value in model.decode_head.state_dict().items()}
    report = load_weights(model, str(tmp_path / "mit_b0.pth"))
    assert report.layout == "encoder"
    assert all(name.startswith("encoder.") for name in report.matched)
    assert set(report.missing) == {f"decode_head.{name}" for name in before}
    assert all(torch.equal(value, before[name]) for name, value in model.decode_head.state_dict().items())
    assert all(same for name, same in equal_entries(model, donor).items() if name.startswith("encoder."))


def test_load_encoder_leaves_out_a_head_of_another_kind(model, tmp_path):
    other = build_small(4, num_classes=9)
    torch.save(as_daformer(other.state_dict()), tmp_path / "w.pth")
    load_encoder(model, tmp_path / "w.pth")
    assert torch.equal(model.encoder.norm4.bias, other.encoder.norm4.bias)
    with pytest.raises(ValueError, match=r"conv_seg\.weight \(9, 8, 1, 1\) instead of \(5, 8, 1, 1\)"):
        load_weights(model, tmp_path / "w.pth")


def _without(state: dict, name: str) -> dict:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: _without(s, "encoder.norm1.bias"), r"1 missing: encoder\.norm1\.bias\."),
        (lambda s: _without(s, "decode_head.conv_seg.bias"), r"1 missing: decode_head\.conv_seg\.bias\."),
        (lambda s: {**s, "encoder.extra": torch.zeros(1)}, r"1 unexpected: encoder\.extra\."),
        (
            lambda s: {**s, "encoder.norm1.bias": torch.zeros(33)},
            r"1 of another shape: encoder\.norm1\.bias \(33,\) instead of \(32,\)",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "decode_head" in k},
            r"\d{3} missing: encoder\.patch_embed1\.proj\.weight",
        ),
        (lambda s: {k: v.to("meta") for k, v in s.items()}, "names to tensors"),
        (lambda s: {"conv1.weight": torch.zeros(1)}, r"has conv1\.weight\. Rename"),
        (lambda s: {}, "has none"),
        (lambda s: {"epoch": 3}, "names to tensors"),
        (lambda s: [torch.zeros(1)], "names to tensors"),
    ],
)
def test_refuses_what_does_not_cover_the_network(model, donor, tmp_path, change, message):
    torch.save(change(donor.state_dict()), tmp_path / "w.pth")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "w.pth")
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()), "nothing may be loaded in part"


def test_long_lists_are_cut(model, tmp_path):
    torch.save(build_small(1, encoder="mit_b1").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"\d{3} of another shape: .*, \.\.\.\.") as error:
        load_weights(model, tmp_path / "w.pth")
    assert len(str(error.value)) < 2000


def test_a_part_is_loaded_when_asked_for(model, donor, tmp_path):
    other = build_small(4, num_classes=9).state_dict()
    changed = {**other, "encoder.extra": torch.zeros(1)}
    del changed["encoder.norm1.bias"]
    torch.save(changed, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="partial=True"):
        load_weights(model, tmp_path / "w.pth")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_weights(model, tmp_path / "w.pth", partial=True)
    assert report.missing == ("encoder.norm1.bias",)
    assert report.unexpected == ("encoder.extra",)
    assert [text.split()[0] for text in report.mismatched] == [
        "decode_head.conv_seg.weight",
        "decode_head.conv_seg.bias",
    ]
    after = model.state_dict()
    kept = {"encoder.norm1.bias", "decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}
    assert set(report.matched) == set(before) - kept
    assert all(torch.equal(after[name], before[name] if name in kept else other[name]) for name in before)


def test_a_part_that_is_empty_is_an_error(model, tmp_path):
    torch.save({"encoder.extra": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="at least one entry must fit the network"):
        load_weights(model, tmp_path / "w.pth", partial=True)
