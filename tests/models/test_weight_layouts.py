from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from pgpc.models import Segmenter, load_encoder, load_weights
from tests.helpers.weights import as_daformer, build_small, equal_entries

# Our name -> that of Hugging Face's library; the rest is numbers that count from 0 instead of 1.
_HUGGING_FACE = {
    "norm1": "layer_norm_1",
    "norm2": "layer_norm_2",
    "attn.q": "attention.self.query",
    "attn.sr": "attention.self.sr",
    "attn.norm": "attention.self.layer_norm",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "mlp.dense1",
    "mlp.fc2": "mlp.dense2",
    "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
}


def _hugging_face(encoder: dict) -> dict:
    """The entries of a MiT as `nvidia/mit-b*` has them."""
    state = {"classifier.weight": torch.zeros(1000, 256), "classifier.bias": torch.zeros(1000)}
    for name, value in encoder.items():
        top, *middle, leaf = name.split(".")
        stage = int(top[-1]) - 1
        if top.startswith("patch_embed"):
            part = {"proj": "proj", "norm": "layer_norm"}[middle[0]]
            state[f"segformer.encoder.patch_embeddings.{stage}.{part}.{leaf}"] = value
        elif top.startswith("norm"):
            state[f"segformer.encoder.layer_norm.{stage}.{leaf}"] = value
        else:
            block, part = middle[0], ".".join(middle[1:])
            prefix = f"segformer.encoder.block.{stage}.{block}"
            if part == "attn.kv":
                width = len(value) // 2
                state[f"{prefix}.attention.self.key.{leaf}"] = value[:width].clone()
                state[f"{prefix}.attention.self.value.{leaf}"] = value[width:].clone()
            else:
                state[f"{prefix}.{_HUGGING_FACE[part]}.{leaf}"] = value
    return state


@pytest.mark.parametrize(("name", "prefix"), [("model.safetensors", "segformer."), ("pytorch_model.bin", "")])
def test_hugging_face_files_load_the_encoder(model, donor, tmp_path, name, prefix):
    state = {k.removeprefix("segformer.") if not prefix else k: v for k, v in _hugging_face(_moved(donor)).items()}
    assert prefix + "encoder.block.2.1.attention.self.value.bias" in state
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    report = load_weights(model, tmp_path / name)
    assert report.layout == "hugging face"
    loaded = model.encoder.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in _moved(donor).items())
    assert set(report.missing) == {key for key in model.state_dict() if key.startswith("decode_head.")}


def _moved(donor: Segmenter) -> dict:
    """The donor's encoder with noise on all entries: biases are 0 and norms 1 in every fresh network."""
    noise = torch.Generator().manual_seed(0)
    return {k: v + torch.rand(v.shape, generator=noise) for k, v in donor.encoder.state_dict().items()}


def test_keys_come_before_values():
    """The joint projection of two channels by hand: rows of the key, then those of the value."""
    from pgpc.models.weight_layouts import translate

    prefix = "segformer.encoder.block.0.0.attention.self"
    content = {
        f"{prefix}.value.weight": torch.tensor([[5.0, 6.0], [7.0, 8.0]]),
        f"{prefix}.key.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    }
    _, entries = translate(content, network="student", encoder=(), path="w")
    assert list(entries) == ["encoder.block1.0.attn.kv.weight"]
    assert entries["encoder.block1.0.attn.kv.weight"].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize("half", ["key", "value"])
def test_half_of_a_joint_projection_is_reported_missing(model, donor, tmp_path, half):
    state = _hugging_face(donor.encoder.state_dict())
    del state[f"segformer.encoder.block.0.1.attention.self.{half}.weight"]
    torch.save(state, tmp_path / "w.bin")
    other = {"key": "v", "value": "k"}[half]
    message = rf"1 missing: encoder\.block1\.1\.attn\.kv\.weight; 1 unexpected: encoder\.block1\.1\.attn\.{other}\."
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "w.bin")


@pytest.mark.parametrize("options", [{}, {"architecture": "hrda", "detail_crop": 32}])
def test_each_network_of_a_released_checkpoint(tmp_path, options):
    nets = [build_small(seed, **options) for seed in range(3)]
    state = {}
    for net, prefix in zip(nets, ("model.", "ema_model.", "imnet_model."), strict=True):
        state |= as_daformer(net.state_dict(), prefix)
    meta = {"mmcv_version": "1.3.7", "epoch": 1, "iter": 40000, "CLASSES": ("road",), "hook_msgs": {}, "config": "a"}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "w.pth")
    model = build_small(3, **options)
    assert ("decode_head.scale_attention.fuse_layer.bn.weight" in model.state_dict()) == bool(options)
    for network, net in zip(("student", "teacher"), nets[:2], strict=True):
        assert load_weights(model, tmp_path / "w.pth", network=network).layout == f"daformer {network}"
        assert all(equal_entries(model, net).values())


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_a_network_without_name_is_taken_for_either(model, donor, tmp_path, network):
    torch.save(as_daformer(donor.state_dict()), tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth", network=network)
    assert all(equal_entries(model, donor).values())


def test_a_student_is_never_taken_for_the_teacher(model, donor, tmp_path):
    own = {f"segmenter.{name}": value for name, value in donor.state_dict().items()}
    for content in (as_daformer(donor.state_dict(), "model."), {"student": own, "teacher": None}):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=r"network='teacher' must be in the file, .* Ask for the student\."):
            load_weights(model, tmp_path / "w.pth", network="teacher")
    with pytest.raises(ValueError, match="network must be 'student' or 'teacher', but got 'ema'"):
        load_weights(model, tmp_path / "w.pth", network="ema")


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_checkpoints_of_a_run(model, donor, tmp_path, network):
    def student(net: Segmenter) -> dict:
        entries = {f"segmenter.{name}": value for name, value in net.state_dict().items()}
        return {**entries, "projection.out.weight": torch.zeros(4, 8, 1, 1)}

    other = {"student": "teacher", "teacher": "student"}[network]
    state = {
        "config": "{}",
        "step": 3,
        network: student(donor),
        other: student(build_small(3)),
        "optimizer": {"state": {}},
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    assert load_weights(model, tmp_path / "checkpoint.pt", network=network).layout == f"pgpc {network}"
    assert all(equal_entries(model, donor).values())


@pytest.mark.parametrize(("architecture", "old"), [("daformer", True), ("deeplabv2", False)])
def test_resnets_of_torchvision(tmp_path, architecture, old):
    torch.manual_seed(0)
    state = torchvision.models.resnet18(weights=None).state_dict()
    if old:  # its first files were written before batch norms counted
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet18.pth")
    model = build_small(1, architecture=architecture, encoder="resnet18", drop_path=0.0)
    report = load_weights(model, tmp_path / "resnet18.pth")
    assert report.layout == "encoder"
    loaded = model.encoder.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in state.items() if not k.startswith("fc."))
    assert len(report.matched) == len(state) - 2


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv3_small_100"])
def test_backbones_of_timm(tmp_path, name):
    """Also those whose names timm changes when it cuts the classifier off."""
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    model = build_small(1, encoder=name, drop_path=0.0).eval()
    load_encoder(model, tmp_path / "w.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        last = whole.forward_intermediates(images, indices=1, intermediates_only=True)[0]
        torch.testing.assert_close(model.encoder(images)[-1], last)


@pytest.mark.parametrize("wrap", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}"])
def test_the_wrappers_of_ddp_and_of_compile_are_taken_off(model, donor, tmp_path, wrap):
    torch.save(
        {"state_dict": {wrap.format(name): value for name, value in donor.state_dict().items()}}, tmp_path / "w.pth"
    )
    assert load_weights(model, tmp_path / "w.pth").layout == "pgpc"
    assert all(equal_entries(model, donor).values())


def test_an_entry_with_and_without_a_wrapper_is_refused(model, donor, tmp_path):
    name, value = next(iter(donor.state_dict().items()))
    part, _, rest = name.partition(".")
    torch.save({**donor.state_dict(), f"{part}._orig_mod.{rest}": value}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="have each entry once, but .* both with '_orig_mod.'"):
        load_weights(model, tmp_path / "w.pth")
