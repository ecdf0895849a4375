"""Plain vision transformers of timm as encoders: any family, any size, and pixels that correspond to cells."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from pgpc.models import ModelConfig, build_model
from pgpc.models.encoder import build_encoder
from pgpc.models.vit.plain import PlainEncoder
from tests.helpers.networks import build, random_images
from tests.helpers.patches import Patches

STRIDES = (4, 8, 16, 32)

FAMILIES = (
    "vit_base_patch14_dinov2",
    "vit_large_patch14_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_large_patch14_reg4_dinov2",
    "vit_base_patch16_dinov3",
    "vit_large_patch16_dinov3.sat493m",
    "eva02_base_patch14_448",
    "eva02_base_patch16_clip_224",
    "vit_base_patch16_siglip_224.v2_webli",
    "vit_so400m_patch14_siglip_224.v2_webli",
    "vit_base_patch32_siglip_256.v2_webli",
    "vit_base_patch16_224.mae",
    "vit_tiny_patch16_224",
    "vit_base_patch8_224",
    "deit3_small_patch16_224",
    "vit_pe_spatial_tiny_patch16_512",
)
"""Of each family of plain transformers what a paper names, on the meta device."""
SMALL_ONES = (
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
)
"""Those that are built each time: patches of 14 and 16, class and register tokens, learned and rotary positions."""


def places(encoder: nn.Module, h: int, w: int) -> list[torch.Tensor]:
    """Return where in the image the cells of every map look: the centers of their receptive fields, ``(2, h', w')``.

    Of an encoder that is linear: what it makes of an image of coordinates, relative to one of ones.
    """
    y, x = (torch.arange(extent) + 0.5 for extent in (h, w))
    shown = torch.stack([y[:, None].expand(h, w), x.expand(h, w), torch.ones(h, w)])
    with torch.no_grad():
        return [map_[:2, 0] / map_[2, 0] for map_ in encoder(shown[:, None].expand(-1, 3, -1, -1))]


def in_place(patch: int, *, pyramid: bool) -> PlainEncoder:
    """Return an encoder that only hands on what a patch shows, without norms and activations."""
    encoder = PlainEncoder(Patches(patch), pyramid=pyramid).eval()
    for level in encoder.pyramid.finer if encoder.pyramid is not None else ():
        for name, module in list(level.named_children()):
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.constant_(module.weight, 0.1)
                nn.init.zeros_(module.bias)
            else:
                level._modules[name] = nn.Identity()
    return encoder


@pytest.mark.parametrize("patch", [14, 16, 8, 32])
@pytest.mark.parametrize("size", [(64, 96), (75, 61), (518, 1036)])
def test_cells_of_a_pyramid_look_where_those_of_other_encoders_do(patch, size):
    """Within half a cell, or half a patch where cells are finer: these look at the middle of their patch."""
    for stride, centers in zip(STRIDES, places(in_place(patch, pyramid=True), *size), strict=True):
        assert centers.shape[1:] == tuple(-(-extent // stride) for extent in size)
        for axis, extent in enumerate(size):
            whole = extent // 32 * 32 // stride  # beyond, cells look at the margin, too
            found = centers[0, :whole, 0] if axis == 0 else centers[1, 0, :whole]
            expected = (torch.arange(whole) + 0.5) * stride
            assert (found - expected).abs().max() <= max(stride, patch) / 2


@pytest.mark.parametrize("patch", [14, 16])
def test_resizing_to_patches_of_14_moves_nothing(patch):
    """Coarse cells look at their middle to a pixel, which patches of 16 do exactly."""
    for stride, centers in zip(STRIDES, places(in_place(patch, pyramid=True), 512, 1024), strict=True):
        if stride >= 16:
            line = centers[1, 0]
            expected = (torch.arange(len(line)) + 0.5) * stride
            assert (line - expected)[1:-1].abs().max() <= (1 if patch == 14 else 1e-3)


@pytest.mark.parametrize(("patch", "size"), [(14, (64, 75)), (16, (64, 75)), (14, (70, 56))])
def test_cells_of_the_last_block_divide_the_image_evenly(patch, size):
    (centers,) = places(in_place(patch, pyramid=False), *size)
    for axis, extent in enumerate(size):
        cells = -(-extent // patch)
        assert centers.shape[1 + axis] == cells
        line = centers[0, :, 0] if axis == 0 else centers[1, 0]
        assert (line - (torch.arange(cells) + 0.5) * extent / cells).abs().max() <= 1  # a pixel, of stretching


@pytest.mark.parametrize("name", ["test_vit", "test_vit3"])
def test_tokens_are_those_of_timm_without_class_token(name):
    """The last block's tokens after the norm, of an image of the size that the weights are for."""
    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    encoder = PlainEncoder(copy.deepcopy(plain), pyramid=True).eval()
    images = random_images(160, 160)
    with torch.no_grad():
        tokens = plain.forward_features(images)[:, plain.num_prefix_tokens :]
        ours = encoder(images)[encoder.last_block]
    torch.testing.assert_close(ours.flatten(2).transpose(1, 2), tokens)


def test_a_norm_behind_the_pooling_is_applied_to_tokens():
    torch.manual_seed(0)
    encoder = PlainEncoder(timm.create_model("test_vit2", dynamic_img_size=True), pyramid=False).eval()
    with torch.no_grad():
        (tokens,) = encoder(random_images(64, 96))
    torch.testing.assert_close(tokens.mean(dim=1), torch.zeros(2, 4, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(tokens.std(dim=1, unbiased=False), torch.ones(2, 4, 6), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("daformer", {}), ("hrda", {"detail_crop": 64}), ("vit_light", {})],
)
def test_every_architecture_trains_every_parameter_at_odd_sizes(architecture, options):
    model = build(encoder="test_vit", architecture=architecture, num_classes=5, drop_path=0.1, **options).train()
    logits = model(random_images(75, 91))
    assert logits.shape == (2, 5, 19, 23)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_position_embeddings_are_interpolated_and_two_sizes_give_two_maps():
    model = build(encoder="test_vit").eval()
    with torch.no_grad():
        small, large = (model.encode(torch.zeros(1, 3, n, n))[2] for n in (160, 320))
    assert small.shape[2:] == (10, 10) and large.shape[2:] == (20, 20)
    assert small.std(dim=(2, 3)).max() > 0, "a gray image's tokens differ by their place"


def test_checkpointing_changes_memory_and_nothing_else():
    images = random_images(64, 64)
    results = []
    for checkpointing in (False, True):
        model = build(encoder="test_vit", checkpointing=checkpointing, dropout=0, drop_path=0.3).train()
        kept: dict[int, int] = {}

        def keep(x: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        torch.manual_seed(3)  # of stochastic depth
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            logits = model(images)
        logits.square().mean().backward()
        results.append((logits, [p.grad for p in model.parameters()], sum(kept.values())))
    (logits, gradients, size), (same, same_gradients, smaller) = results
    assert torch.equal(logits, same)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same_gradients, strict=True))
    assert smaller < 0.9 * size


def test_the_light_decoder_needs_a_plain_transformer_and_deeplab_another_encoder():
    with torch.device("meta"):
        with pytest.raises(ValueError, match="must be a plain vision transformer for model.architecture=vit_light"):
            build(encoder="mit_b0", architecture="vit_light")
        with pytest.raises(
            ValueError, match="must give a map of images of any size.*for example 'vit_base_patch14_dinov2'"
        ):
            build(encoder="beit_base_patch16_224", architecture="vit_light")
        with pytest.raises(ValueError, match="for example 'resnet101'"):
            build(encoder="test_vit", architecture="deeplabv2")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMALL_ONES, *(pytest.param(name, marks=pytest.mark.long) for name in FAMILIES)])
def test_every_family_at_odd_sizes(name):
    for strides in (STRIDES, None):
        with torch.device("meta"):
            encoder, channels = build_encoder(name, strides=strides, drop_path=0.1, checkpointing=True)
        assert isinstance(encoder, PlainEncoder)
        for h, w in ((91, 128), (114, 73)):
            cells = strides or (encoder.patch,)
            maps = encoder(torch.zeros(2, 3, h, w, device="meta"))
            expected = [(2, c, -(-h // s), -(-w // s)) for c, s in zip(channels, cells, strict=True)]
            assert [tuple(x.shape) for x in maps] == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_families_give_finite_logits_and_gradients(name):
    torch.manual_seed(0)
    for architecture in ("daformer", "vit_light"):
        model = build_model(ModelConfig(encoder=name, architecture=architecture, head_channels=16, num_classes=5))
        model.train()(random_images(75, 61)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
