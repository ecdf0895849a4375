"""What is trained of an encoder: all, nothing, or low-rank matrices; and what a run then keeps, reads and exports."""

from __future__ import annotations

import pytest
import torch

import pgpc
from pgpc.bases.checkpoint_size import checkpoint_bytes
from pgpc.cli.export import FORMATS
from pgpc.evaluation.loaded_model import load_model
from pgpc.models import ModelConfig, build_model, load_exported
from pgpc.models.finetuning import DIGEST
from pgpc.models.student import Student
from pgpc.models.weights import load_encoder
from pgpc.training.trunk import _load_all_but_head, _load_optimizer
from tests.bases.test_vfm_uda import TINY
from tests.helpers.training import new_state, random_batch, train_step

WAYS = ("frozen", pytest.param("lora", marks=pytest.mark.slow))  # the package is slow to import


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of an encoder's weights, as somebody publishes them."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "encoder.pt"
    encoder = build_model(ModelConfig(architecture="vit_light", encoder="test_vit")).encoder
    torch.save({f"encoder.{name}": value for name, value in encoder.state_dict().items()}, file)
    return file


@pytest.fixture
def make(tiny, weights):
    def configured(way, **changes):
        if way == "lora":
            pytest.importorskip("peft")
        fixed = {"model.finetuning": way, "model.lora_rank": 2, "model.pretrained": str(weights)}
        return tiny("streets/vfm-uda+pgpc", {**TINY, **fixed, "contrast.start": 0, "contrast.fill": 0, **changes})

    return configured


def entries(student):
    return {name: value.clone() for name, value in student.segmenter.state_dict().items()}


@pytest.mark.parametrize("way", WAYS)
def test_a_step_trains_what_the_way_says_and_nothing_else(make, way):
    state = new_state(make(way))
    before = entries(state.student)
    train_step(state, random_batch(state.config))
    changed = {name for name, value in entries(state.student).items() if not torch.equal(value, before[name])}
    trained = {name for name in before if name.startswith("decode_head.") or ".lora_B." in name}
    assert {name for name in changed if ".lora_A." not in name} == trained
    assert all(p.grad is not None for p in state.student.parameters() if p.requires_grad)
    assert (".lora_B." in "".join(trained)) == (way == "lora")


@pytest.mark.parametrize("way", WAYS)
def test_the_teacher_shares_what_is_not_trained(make, way):
    state = new_state(make(way))
    train_step(state, random_batch(state.config))
    pairs = list(zip(state.student.parameters(), state.teacher.parameters(), strict=True))
    assert all((ours is theirs) != ours.requires_grad for ours, theirs in pairs if ours is not state.student.mask_token)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_resumed_from_a_checkpoint_without_the_encoder(make, way, tmp_path):
    config = make(way)
    state, batch = new_state(config), random_batch(config)
    train_step(state, batch)
    state.save(tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for network in ("student", "teacher"):
        assert DIGEST in saved[network]
        assert not any(name.endswith("patch_embed.proj.weight") for name in saved[network])
    parts = [saved[name] for name in ("student", "teacher", "contrast")] + list(saved["optimizer"]["state"].values())
    held = sum(x.numel() * x.element_size() for part in parts for x in part.values())
    assert held == pytest.approx(checkpoint_bytes(config), rel=0.02)
    assert checkpoint_bytes(config) < 0.7 * checkpoint_bytes(make("whole"))
    resumed = new_state(config)
    resumed.load(tmp_path)
    ours, theirs = train_step(state, batch), train_step(resumed, batch)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_forked_from_a_trunk_without_the_encoder(make, way, tmp_path):
    plain = new_state(make(way, **{"contrast.start": 3}))
    train_step(plain, random_batch(plain.config))
    plain.save(tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    ours = new_state(make(way))
    _load_all_but_head(ours.student, saved["student"])
    _load_optimizer(ours.optimizer, saved["optimizer"])
    found = entries(ours.student)
    assert all(torch.equal(value, found[name]) for name, value in entries(plain.student).items())


def test_a_checkpoint_is_not_read_with_other_weights(make, weights, tmp_path):
    config = make("frozen")
    state = new_state(config)
    state.save(tmp_path)
    others = {name: value + 1 for name, value in torch.load(weights).items()}
    torch.save(others, tmp_path / "others.pt")
    other = new_state(pgpc.override(config, {"model.pretrained": str(tmp_path / "others.pt")}))
    with pytest.raises(ValueError, match=r"those of model\.pretrained are others now"):
        other.load(tmp_path)


def test_random_weights_are_kept_since_no_file_has_them(make, tmp_path):
    state = new_state(make("frozen", **{"model.pretrained": None}))
    assert DIGEST not in state.student.state_dict()
    state.save(tmp_path)
    other = new_state(pgpc.override(state.config, {"seed": 5}))
    other.student.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["student"])


@pytest.mark.parametrize("way", WAYS)
@torch.no_grad()
def test_an_export_is_complete_and_gives_the_logits_of_the_run(make, way, weights, tmp_path):
    config = make(way)
    state = new_state(config)
    with torch.enable_grad():
        for _ in range(2):
            train_step(state, random_batch(config))
    state.save(tmp_path)
    images = random_batch(config).target_images
    expected = state.student.eval().segmenter(images)
    loaded = load_model(tmp_path)
    torch.testing.assert_close(loaded.student.segmenter(images), expected, atol=1e-5, rtol=1e-5)
    FORMATS["weights"].write(loaded, tmp_path / "a.pt", (64, 64))
    weights.rename(weights.with_suffix(".gone"))  # an export needs no other file
    try:
        for read in (load_exported(tmp_path / "a.pt"), load_model(tmp_path / "a.pt").student.segmenter):
            torch.testing.assert_close(read(images), expected, atol=1e-5, rtol=1e-5)
            assert not any("lora" in name for name in read.state_dict())
    finally:
        weights.with_suffix(".gone").rename(weights)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_with_a_part_of_its_weights_is_no_file_of_weights(make, way, tmp_path):
    state = new_state(make(way))
    state.save(tmp_path)
    with pytest.raises(ValueError, match="has those alone that were trained"):
        load_encoder(state.student.segmenter, tmp_path / "checkpoint.pt")


def test_a_frozen_encoder_stays_in_evaluation_mode(make):
    state = new_state(make("frozen", **{"model.drop_path": 0.5}))
    state.student.train()
    encoder = state.student.segmenter.encoder
    assert state.student.segmenter.decode_head.training
    assert not any(module.training for module in encoder.vit.modules())


@pytest.mark.parametrize("encoder", ["test_vit", "eva02_tiny_patch14_224", "mit_b0"])
@pytest.mark.slow
def test_low_rank_matrices_all_get_gradients(encoder):
    pytest.importorskip("peft")
    student = Student(ModelConfig(encoder=encoder, finetuning="lora", lora_rank=1, head_channels=8, num_classes=3))
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".lora_B." in name:
                parameter.fill_(0.01)
    student.segmenter(torch.randn(2, 3, 64, 64)).sum().backward()
    low_rank = {name: p for name, p in student.named_parameters() if ".lora_" in name}
    assert low_rank
    assert all(p.grad is not None for p in low_rank.values())


@pytest.mark.slow
def test_projections_that_timm_computes_from_their_weights_alone_are_left_as_they_are():
    pytest.importorskip("peft")
    with torch.device("meta"):
        student = Student(ModelConfig(encoder="eva_giant_patch14_224", finetuning="lora", drop_path=0.0))
    low_rank = {name for name, _ in student.named_parameters() if ".lora_A." in name}
    assert any(".attn.proj." in name for name in low_rank)
    assert not any(".qkv." in name for name in low_rank)


def test_what_has_no_linear_layers_takes_no_low_rank_matrices():
    with pytest.raises(ValueError, match="'whole' or 'frozen' for an encoder without linear layers, but got"):
        Student(ModelConfig(encoder="resnet18", finetuning="lora"))


def test_a_feature_distance_to_an_encoder_that_stays_is_refused():
    with pytest.raises(ValueError, match=r"feature_distance_weight must be 0 with model\.finetuning=frozen"):
        pgpc.override(pgpc.preset("gta5-cityscapes/daformer"), {"model.finetuning": "frozen"})
