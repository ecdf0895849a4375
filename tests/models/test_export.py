from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pgpc.config import Config, override, to_dict
from pgpc.models import Segmenter, build_model, load_weights
from pgpc.models.export import export_program, export_weights, load_exported
from pgpc.presets import preset

_SIZE = (64, 128)
_ARCHITECTURES = {
    "daformer": {},
    "hrda": {"data.crop": 96, "model.architecture": "hrda", "model.detail_crop": 64},
    "deeplabv2": {"model.architecture": "deeplabv2", "model.encoder": "resnet18"},
}


def _network(architecture: str = "daformer") -> tuple[Segmenter, Config]:
    """A network whose norms are not the identity."""
    changes = {
        "model.pretrained": None,
        "model.encoder": "mit_b0",
        "model.head_channels": 8,
        **_ARCHITECTURES[architecture],
    }
    config = override(preset("streets/source-only"), changes)
    torch.manual_seed(0)
    model = build_model(config.model)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 2)
    return model, config


@pytest.mark.slow
@pytest.mark.parametrize("architecture", list(_ARCHITECTURES))
def test_weights_come_back_with_their_network(architecture, tmp_path):
    model, config = _network(architecture)
    export_weights(model, to_dict(config), tmp_path / "new" / "w.pth")
    exported = load_exported(tmp_path / "new" / "w.pth")
    assert type(exported) is type(model)
    assert not exported.training
    assert model.training
    other = build_model(config.model)
    assert load_weights(other, tmp_path / "new" / "w.pth").layout == "pgpc"
    images = torch.randn(2, 3, *_SIZE)
    with torch.no_grad():
        expected = model.eval()(images)
        assert torch.equal(exported(images), expected)
        assert torch.equal(other.eval()(images), expected)


def test_weights_need_no_file_of_initial_ones(tmp_path):
    model, config = _network()
    export_weights(model, to_dict(override(config, {"model.pretrained": "elsewhere.pth"})), tmp_path / "w.pth")
    load_exported(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"config": {}, "state_dict": {}}, [1]])
def test_other_files_are_no_exported_network(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="must have its config beside its weights"):
        load_exported(tmp_path / "w.pth")


def test_keys_of_another_version_are_named(tmp_path):
    model, config = _network()
    described = to_dict(config)
    described["model"]["depth"] = 3
    export_weights(model, described, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"must have known keys, but .*w\.pth has model\.depth\. Read it with"):
        load_exported(tmp_path / "w.pth")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", list(_ARCHITECTURES))
def test_program_gives_the_same_logits(architecture, tmp_path):
    model, _ = _network(architecture)
    export_program(model, tmp_path / "p.pt2", _SIZE)
    assert model.training
    assert [path.name for path in tmp_path.iterdir()] == ["p.pt2"], "no temporary file is left"
    program = torch.export.load(tmp_path / "p.pt2").module()
    model.eval()
    for count in (1, 3):
        images = torch.randn(count, 3, *_SIZE)
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=0, atol=1e-5)


class _OneByOne(nn.Module):
    """Its operations follow the number of images, so that no program can serve all numbers."""

    shortest_side, bands = 1, 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.scale * image for image in images])


def test_program_is_for_one_image_where_it_cannot_be_for_any_number(tmp_path):
    export_program(_OneByOne(), tmp_path / "p.pt2", _SIZE)
    image = torch.randn(1, 3, *_SIZE)
    assert torch.equal(torch.export.load(tmp_path / "p.pt2").module()(image), image)


def test_program_refuses_images_that_are_too_small(tmp_path):
    with pytest.raises(ValueError, match=r"height and width must be at least 32, but got \(31, 64\)"):
        export_program(_network()[0], tmp_path / "p.pt2", (31, 64))
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    model, config = _network()
    path = tmp_path / "w.pth"
    path.write_bytes(b"old")

    def fail(content, file):
        file.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            export_weights(model, to_dict(config), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    export_weights(model, to_dict(config), path)
    load_exported(path)


def test_a_folder_is_no_file(tmp_path):
    model, config = _network()
    with pytest.raises(ValueError, match="an export must be written to a file"):
        export_weights(model, to_dict(config), tmp_path)
