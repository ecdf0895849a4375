from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from pgpc.models import ModelConfig, Segmenter, build_model, load_encoder, load_weights


def _build(seed: int, **options) -> Segmenter:
    torch.manual_seed(seed)
    return build_model(ModelConfig(**{"encoder": "mit_b0", "head_channels": 8, "num_classes": 5, **options}))


@pytest.fixture(scope="module")
def donor() -> Segmenter:
    return _build(1)


@pytest.fixture(scope="module")
def blank() -> Segmenter:
    return _build(2)


@pytest.fixture
def model(blank) -> Segmenter:
    return copy.deepcopy(blank)


def _daformer(state: dict, prefix: str = "") -> dict:
    return {prefix + name.replace("encoder.", "backbone."): value for name, value in state.items()}


def _equal(a: Segmenter, b: Segmenter) -> dict[str, bool]:
    other = b.state_dict()
    return {name: torch.equal(value, other[name]) for name, value in a.state_dict().items()}


@pytest.mark.parametrize(
    ("layout", "content"),
    [
        ("pgpc", lambda own, other: own),
        ("daformer", lambda own, other: _daformer(own)),
        ("daformer", lambda own, other: {"state_dict": _daformer(own), "meta": {"epoch": 1}}),
        ("daformer teacher", lambda own, other: _daformer(own, "ema_model.")),
        (
            "daformer student",
            lambda own, other: {
                "state_dict": {
                    **_daformer(other, "ema_model."),
                    **_daformer(own, "model."),
                    **_daformer(other, "imnet_model."),
                }
            },
        ),
    ],
)
def test_whole_networks(model, donor, tmp_path, layout, content):
    own, other = donor.state_dict(), _build(3).state_dict()
    torch.save(content(own, other), tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth")
    assert all(_equal(model, donor).values())
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
    assert all(same for name, same in _equal(model, donor).items() if name.startswith("encoder."))


def test_load_encoder_leaves_out_a_head_of_another_kind(model, tmp_path):
    other = _build(4, num_classes=9)
    torch.save(_daformer(other.state_dict()), tmp_path / "w.pth")
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
    torch.save(_build(1, encoder="mit_b1").state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"\d{3} of another shape: .*, \.\.\.\.") as error:
        load_weights(model, tmp_path / "w.pth")
    assert len(str(error.value)) < 2000


class _Evil:
    """Runs code when it is unpickled: creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    ("kind", "where"), [("zip", "entry"), ("zip", "meta"), ("legacy", "entry"), ("pickle", "entry")]
)
def test_refuses_files_with_code_and_does_not_run_it(model, donor, tmp_path, kind, where):
    trace, path = tmp_path / "trace", tmp_path / "w.pth"
    weights = _daformer(donor.state_dict())
    hook = _Evil(trace)
    content = {**weights, "hook": hook} if where == "entry" else {"state_dict": weights, "meta": {"hook": hook}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"io\.open" if kind == "zip" else "could run code"):
        load_weights(model, path)
    assert not trace.exists()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pickle.loads(path.read_bytes()) if kind == "pickle" else torch.load(path, weights_only=False)
    assert trace.exists(), "the file would have run code"


def test_a_checkpoint_with_numpy_values_is_refused_with_the_remedy(model, donor, tmp_path):
    torch.save({"state_dict": _daformer(donor.state_dict()), "meta": {"mIoU": np.float64(1)}}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"numpy.*scalar.*weights_only=False\)\['state_dict'\]"):
        load_weights(model, tmp_path / "w.pth")
    torch.save(torch.load(tmp_path / "w.pth", weights_only=False)["state_dict"], tmp_path / "new.pth")
    load_weights(model, tmp_path / "new.pth")
    assert all(_equal(model, donor).values())


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.01, 0.9999])
def test_refuses_files_that_end_too_early(model, donor, tmp_path, name, keep):
    path = tmp_path / name
    save = save_file if name.endswith("safetensors") else torch.save
    save(donor.state_dict(), path)
    load_weights(model, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match="empty" if keep == 0 else "cannot be read"):
        load_weights(model, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"not a file of torch", "must come from a file of torch.save"),
        ("w.safetensors", b"not a file of safetensors", "cannot be read"),
        ("w.pth", None, "is a folder"),
        ("w.safetensors", None, "is a folder"),
    ],
)
def test_refuses_what_is_no_file_of_weights(model, tmp_path, name, content, message):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_weights(model, path)


def test_a_missing_file_is_said_to_be_missing(model, tmp_path):
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            load_weights(model, tmp_path / name)


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
    nets = [_build(seed, **options) for seed in range(3)]
    state = {}
    for net, prefix in zip(nets, ("model.", "ema_model.", "imnet_model."), strict=True):
        state |= _daformer(net.state_dict(), prefix)
    meta = {"mmcv_version": "1.3.7", "epoch": 1, "iter": 40000, "CLASSES": ("road",), "hook_msgs": {}, "config": "a"}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "w.pth")
    model = _build(3, **options)
    assert ("decode_head.scale_attention.fuse_layer.bn.weight" in model.state_dict()) == bool(options)
    for network, net in zip(("student", "teacher"), nets[:2], strict=True):
        assert load_weights(model, tmp_path / "w.pth", network=network).layout == f"daformer {network}"
        assert all(_equal(model, net).values())


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_a_network_without_name_is_taken_for_either(model, donor, tmp_path, network):
    torch.save(_daformer(donor.state_dict()), tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth", network=network)
    assert all(_equal(model, donor).values())


def test_a_student_is_never_taken_for_the_teacher(model, donor, tmp_path):
    own = {f"segmenter.{name}": value for name, value in donor.state_dict().items()}
    for content in (_daformer(donor.state_dict(), "model."), {"student": own, "teacher": None}):
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
    state = {"config": "{}", "step": 3, network: student(donor), other: student(_build(3)), "optimizer": {"state": {}}}
    torch.save(state, tmp_path / "checkpoint.pt")
    assert load_weights(model, tmp_path / "checkpoint.pt", network=network).layout == f"pgpc {network}"
    assert all(_equal(model, donor).values())


@pytest.mark.parametrize(("architecture", "old"), [("daformer", True), ("deeplabv2", False)])
def test_resnets_of_torchvision(tmp_path, architecture, old):
    torch.manual_seed(0)
    state = torchvision.models.resnet18(weights=None).state_dict()
    if old:  # its first files were written before batch norms counted
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet18.pth")
    model = _build(1, architecture=architecture, encoder="resnet18", drop_path=0.0)
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
    model = _build(1, encoder=name, drop_path=0.0).eval()
    load_encoder(model, tmp_path / "w.pth")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        last = whole.forward_intermediates(images, indices=1, intermediates_only=True)[0]
        torch.testing.assert_close(model.encoder(images)[-1], last)


def test_a_part_is_loaded_when_asked_for(model, donor, tmp_path):
    other = _build(4, num_classes=9).state_dict()
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
