from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import CITYSCAPES
from pgpc.config import override
from pgpc.data.transforms import whole_image
from pgpc.models import build_model, onnx_file
from pgpc.models.mit import Stage
from pgpc.models.onnx_file import export_onnx
from pgpc.presets import preset

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

_ARCHITECTURES = {
    "daformer": {"model.encoder": "mit_b0"},
    "deeplabv2": {"model.architecture": "deeplabv2", "model.encoder": "test_resnet"},
    "hrda": {"model.encoder": "mit_b0", "data.crop": 96, "model.architecture": "hrda", "model.detail_crop": 64},
}
DATA = preset("streets/source-only").data


def network(architecture):
    """A network whose norms are not the identity and whose scores differ."""
    config = override(
        preset("streets/source-only"),
        {"model.pretrained": None, "model.head_channels": 8, **_ARCHITECTURES[architecture]},
    )
    torch.manual_seed(0)
    model = build_model(config.model)
    for module in model.modules():
        if isinstance(module, Stage):  # all blocks are alike, and what exporting takes goes with their number
            del module[1:]
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 2)
    return model


class Tiny(nn.Module):
    """A network that is exported in no time."""

    shortest_side = 8
    align_corners = False

    def __init__(self, by_size=False, bands=3):
        super().__init__()
        self.by_size, self.bands = by_size, bands
        self.conv = nn.Conv2d(bands, 4, 3, stride=4, padding=1)

    def forward(self, images):
        logits = self.conv(images)
        return torch.stack([row * i for i, row in enumerate(logits.unbind(2))], 2) if self.by_size else logits


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [pytest.param("daformer", marks=pytest.mark.long), "deeplabv2"])
def test_logits_of_any_number_and_size_are_those_of_the_network(architecture, tmp_path):
    import onnxruntime

    model = network(architecture)
    export_onnx(model, DATA, tmp_path / "n.onnx")
    assert model.training
    assert [path.name for path in tmp_path.iterdir()] == ["n.onnx"], "one file, and no temporary one"
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    model.eval()
    for count, height, width in ((1, 32, 45), (2, 64, 64), (1, 130, 259)):
        images = torch.randn(count, 3, height, width)
        found = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        with torch.no_grad():
            torch.testing.assert_close(found, model(images), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_metadata_say_how_to_use_it(tmp_path):
    export_onnx(Tiny(), DATA, tmp_path / "n.onnx", CITYSCAPES)
    found = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "n.onnx").metadata_props}
    assert [entry["name"] for entry in found["classes"]] == list(CITYSCAPES.names)
    assert found["mean"] == [123.675, 116.28, 103.53]
    assert found["std"] == [58.395, 57.12, 57.375]
    assert found["resize"] == {"width": 256, "height": 128, "fit": "inside", "interpolation": "bilinear"}
    assert (found["shortest_side"], found["align_corners"]) == (8, False)
    assert (found["channels"], found["bits"]) == ("RGB", 8)


@pytest.mark.slow
def test_other_bands_are_used_with_their_own_statistics(tmp_path):
    """As who has nothing but the file would, from what it says."""
    import onnxruntime

    data = dataclasses.replace(DATA, bands=5, bits=16, mean=(1e4, 2e4, 3e4, 4e4, 0.0), std=(2e4, 1e4, 3e4, 2e4, 5e4))
    model = Tiny(bands=5)
    export_onnx(model, data, tmp_path / "n.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "n.onnx", providers=["CPUExecutionProvider"])
    said = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert said["channels"] == 5
    assert session.get_inputs()[0].shape == ["batch", 5, "height", "width"]
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 56, 5), dtype=np.uint16)
    images = (pixels.astype(np.float32) - np.float32(said["mean"])) / np.float32(said["std"])
    found = session.run(["logits"], {"images": images.transpose(2, 0, 1)[None]})[0]
    with torch.no_grad():
        expected = model(whole_image(pixels, (56, 40), "inside", "bilinear", data.normalization))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)


def test_networks_with_crops_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"architecture 'hrda' cannot be written as ONNX .* use --format program"):
        export_onnx(network("hrda"), DATA, tmp_path / "n.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_that_follows_the_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="images of any size"):
        export_onnx(Tiny(by_size=True), DATA, tmp_path / "n.onnx")
    assert not list(tmp_path.iterdir())


def test_other_logits_or_classes_are_refused():
    expected = torch.tensor([[0.0, 1.0], [0.0, 0.00001]])[:, :, None, None]
    onnx_file._compare(expected, expected.flip(1) * 0 + expected, (1, 1))
    tied = expected.clone()
    tied[1] = torch.tensor([0.00001, 0.0])[:, None, None]
    onnx_file._compare(expected, tied, (1, 1))  # which of the two is higher cannot be told
    with pytest.raises(ValueError, match=r"differ by up to 0.001 \(at most 0.0001\)"):
        onnx_file._compare(expected, expected + 0.001, (64, 128))
    with pytest.raises(ValueError, match=r"shape \(2, 1, 1, 1\), not \(2, 2, 1, 1\)"):
        onnx_file._compare(expected, expected[:, :1], (64, 128))
    with pytest.raises(ValueError, match="differ by up to nan"):
        onnx_file._compare(expected, expected * float("nan"), (64, 128))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_file, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ValueError, match=r"but no_such_package is missing. Install .*pip install \"pgpc\[onnx\]\""):
        export_onnx(Tiny(), DATA, tmp_path / "n.onnx")
