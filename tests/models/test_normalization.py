"""How an encoder's images are normalized: as its pretrained configuration says, wherever the network goes."""

from __future__ import annotations

import io
import json

import pytest
import timm
import torch
from torch import nn

from pgpc.data.normalization import MEAN, STD
from pgpc.models import ModelConfig, build_model, export_weights, load_exported, load_weights
from pgpc.models.normalization import (
    IMAGENET,
    Statistics,
    normalize_images,
    published_buffers,
    published_statistics,
)
from tests.helpers.hub import serve, use
from tests.helpers.networks import build, random_images

HALF = Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = Statistics((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class Seen(nn.Module):
    """Gives the images that it is shown."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images]


def as_published(model):
    """Let a network see images as if its encoder's published weights had been loaded."""
    for name, value in published_buffers(model.encoder).items():
        model.encoder.get_buffer(name).copy_(value)
    return model


def build_vit(**options):
    return build(**{"encoder": "test_vit", "architecture": "vit_light", "num_classes": 5, **options}).eval()


def test_what_images_are_normalized_by_here_is_said_once():
    torch.testing.assert_close(torch.tensor(IMAGENET) * 255, torch.tensor([MEAN, STD]))


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ("mit_b0", IMAGENET),
        ("vit_small_patch14_dinov2", IMAGENET),
        ("vit_small_patch16_dinov3", IMAGENET),
        ("vit_large_patch16_dinov3.sat493m", Statistics((0.43, 0.411, 0.296), (0.213, 0.156, 0.143))),
        ("eva02_base_patch14_448", CLIP),
        ("vit_base_patch16_siglip_224.v2_webli", HALF),
        ("vit_base_patch16_224.mae", IMAGENET),
        ("vit_base_patch16_224.augreg_in21k", HALF),
    ],
)
def test_statistics_are_those_of_the_pretrained_configuration(encoder, expected):
    assert published_statistics(encoder) == expected


def test_images_become_those_that_the_encoder_was_trained_on():
    pixels = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    ours, theirs = (
        (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        for mean, std in (IMAGENET, CLIP)
    )
    encoder = Seen()
    normalize_images(encoder, CLIP)
    assert torch.equal(encoder(ours)[0], ours), "random weights have seen none"
    for name, value in published_buffers(encoder).items():
        encoder.get_buffer(name).copy_(value)
    torch.testing.assert_close(encoder(ours)[0], theirs)
    unchanged = Seen()
    normalize_images(unchanged, IMAGENET)
    assert unchanged(ours)[0] is ours
    assert not unchanged.state_dict()


def test_the_margin_of_an_odd_image_has_the_mean_color_of_the_encoder():
    model = as_published(build(encoder="test_convnext"))  # of which timm says one half
    assert "encoder.image_scale" in model.state_dict()
    seen = []
    model.encoder.stem_0.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model.encoder(torch.ones(1, 3, 70, 45))
    assert not seen[0][:, :, 70:].any() and not seen[0][..., 45:].any()


def test_exports_keep_them_whatever_timm_says_later(tmp_path, monkeypatch):
    model = as_published(build_vit())
    images = random_images(48, 64)
    expected = model(images)
    assert not torch.equal(build_vit()(images), expected)
    export_weights(
        model, {"model": {"encoder": "test_vit", "architecture": "vit_light", "num_classes": 5}}, tmp_path / "a.pt"
    )
    monkeypatch.setattr("pgpc.models.pretrained.published_statistics", lambda *_: CLIP)
    loaded = load_exported(tmp_path / "a.pt")
    assert torch.equal(loaded(images), expected)


def test_networks_of_earlier_versions_saw_images_as_they_come(tmp_path):
    """Their files have no statistics, and they were not trained with any."""
    model = as_published(build_vit())
    old = {name: value for name, value in model.state_dict().items() if "encoder.image_" not in name}
    torch.save(old, tmp_path / "old.pt")
    a, b = as_published(build_vit()), as_published(build_vit())
    load_weights(a, tmp_path / "old.pt")
    b.load_state_dict(old)
    model.encoder.image_scale.fill_(1)
    model.encoder.image_shift.fill_(0)
    images = random_images(48, 64)
    assert torch.equal(a(images), model(images))
    assert torch.equal(b(images), model(images))


def test_weights_of_timm_and_of_its_authors_fit_and_leave_statistics_as_they_are(tmp_path):
    torch.manual_seed(5)
    published = timm.create_model("test_vit").state_dict()
    torch.save(published, tmp_path / "timm.pt")
    torch.save(
        {**{k: v for k, v in published.items() if "head" not in k}, "mask_token": torch.zeros(1, 64)}, tmp_path / "b.pt"
    )
    for name in ("timm.pt", "b.pt"):
        for architecture in ("vit_light", "daformer"):
            model = build_vit(architecture=architecture, head_channels=8, pretrained=str(tmp_path / name))
            assert torch.equal(model.encoder.vit.blocks[0].attn.qkv.weight, published["blocks.0.attn.qkv.weight"])
            torch.testing.assert_close(model.encoder.image_scale, torch.tensor(IMAGENET.std) / 0.5)
    model = build_vit()
    load_weights(model, tmp_path / "timm.pt")  # as it is read from Python
    torch.testing.assert_close(model.encoder.image_scale, torch.tensor(IMAGENET.std) / 0.5)
    del published["blocks.0.attn.qkv.weight"]
    torch.save(published, tmp_path / "less.pt")
    with pytest.raises(ValueError, match=r"1 missing: encoder\.vit\.blocks\.0\.attn\.qkv\.weight"):
        build_vit(pretrained=str(tmp_path / "less.pt"))


def as_file(state):
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def test_a_repository_says_how_its_images_are_normalized(tmp_path, monkeypatch):
    """timm's description or transformers', fetched with the weights, so that later no network is needed."""
    weights = as_file(timm.create_model("test_vit").state_dict())
    described = {"pretrained_cfg": {"mean": list(CLIP.mean), "std": list(CLIP.std)}}
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}
    repositories = {
        "own/timm": {"config.json": json.dumps(described).encode(), "model.bin": weights},
        "own/transformers": {"preprocessor_config.json": json.dumps(processor).encode(), "model.bin": weights},
        "own/silent": {"config.json": b"{}", "model.bin": weights},
        "own/wrong": {"preprocessor_config.json": b'{"image_mean": 0.5, "image_std": 0.5}', "model.bin": weights},
    }
    expected = {"own/timm": CLIP, "own/transformers": Statistics((0.1, 0.2, 0.3), (1, 1, 1)), "own/silent": HALF}
    with serve(repositories) as hub:
        use(monkeypatch, hub.url, tmp_path / "hub")
        for _ in range(2):  # fetched, then from the cache
            for name, statistics in expected.items():
                model = build_vit(pretrained=f"hf:{name}")
                scale = torch.tensor(IMAGENET.std) / torch.tensor(statistics.std)
                torch.testing.assert_close(model.encoder.image_scale, scale)
            before = len(hub.requests)
        assert len(hub.requests) == before
        with pytest.raises(ValueError, match="three means and three positive standard deviations"):
            build_vit(pretrained="hf:own/wrong")


def test_licenses_that_restrict_are_named_where_weights_cannot_be_had(tmp_path, monkeypatch):
    with serve({}) as hub:
        use(monkeypatch, hub.url, tmp_path / "hub")
        for pretrained in ("imagenet", "hf:facebook/dinov3-vits16-pretrain-lvd1689m"):
            config = ModelConfig(encoder="vit_small_patch16_dinov3", architecture="vit_light", pretrained=pretrained)
            with torch.device("meta"), pytest.raises(ValueError, match="DINOv3 License.*commercial use on its terms"):
                build_model(config)
