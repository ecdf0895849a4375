"""Feature maps of timm's backbones: they lie where their strides say, or the backbone is refused."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models import list_modules

import pgpc.models.mit_in_timm  # noqa: F401  (registers the family "mit")
from pgpc.models import encoder as encoder_module
from pgpc.models.encoder import build_encoder
from tests.helpers.networks import build, random_images

STRIDES, DILATED = (4, 8, 16, 32), (4, 8, 8, 8)
SIZES = ((91, 128), (114, 73))  # heights and widths as odd as 910 x 512, on which HRNet failed after hours

SMALL = {
    "byoanet": "lambda_resnet26t",
    "byobnet": "gernet_s",
    "convnext": "test_convnext",
    "cpubone": "cpubone_b0_bfrobust",
    "cspnet": "cs3darknet_focus_s",
    "davit": "davit_tiny",
    "dla": "dla46_c",
    "dpn": "dpn68",
    "efficientnet": "test_efficientnet",
    "fasternet": "fasternet_t0",
    "focalnet": "focalnet_tiny_srf",
    "ghostnet": "ghostnet_050",
    "hgnet": "hgnetv2_b0",
    "hieradet_sam2": "hieradet_small",
    "hrnet": "hrnet_w18_small",
    "maxxvit": "maxvit_rmlp_pico_rw_256",
    "mvitv2": "mvitv2_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "resnet": "resnet10t",
    "senet": "legacy_seresnet18",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tresnet": "tresnet_m",
    "twins": "twins_pcpvt_small",
    "vgg": "vgg11",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
}
"""A small member of families whose first one is large; of the others the first by its name is taken."""


def member(family):
    return SMALL.get(family) or timm.list_models(module=family)[0]


def check_maps(name, strides=STRIDES):
    """Build an encoder, and check the sizes and channels of its maps."""
    with torch.device("meta"):
        encoder, channels = build_encoder(name, strides=strides, drop_path=0.0, checkpointing=False)
    for h, w in SIZES:
        maps = encoder(torch.zeros(2, 3, h, w, device="meta"))
        expected = [(2, c, -(-h // s), -(-w // s)) for c, s in zip(channels, strides, strict=True)]
        assert [tuple(x.shape) for x in maps] == expected, (name, h, w)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("resnet10t", STRIDES),  # right as it is
        ("resnet10t", DILATED),
        ("test_convnext", STRIDES),  # left out what is over
        ("test_convnext", DILATED),
        pytest.param("hrnet_w18_small", STRIDES, marks=pytest.mark.slow),  # failed
        pytest.param("tresnet_m", STRIDES, marks=pytest.mark.slow),  # failed
        pytest.param("dla46_c", STRIDES, marks=pytest.mark.slow),  # left out what is over
    ],
)
def test_maps_of_odd_sizes_have_a_cell_for_all_that_is_over(name, strides):
    check_maps(name, strides)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("legacy_xception", r"(?s)maps have \(channels, height, width\) \[\(128, 7, 15\).*for example 'mit_b5'"),
        ("inception_v3", "for example 'mit_b5'"),
    ],
)
def test_encoders_whose_maps_are_elsewhere_at_any_size_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        check_maps(name)


@pytest.mark.long
@pytest.mark.parametrize("family", list_modules())
def test_every_family_is_right_or_refused(family):
    try:
        check_maps(member(family))
    except ValueError as error:
        assert str(error).startswith("model.encoder must give ")


@pytest.mark.slow
def test_maps_are_those_of_an_image_with_a_mean_colored_margin():
    model = build(encoder="test_convnext").eval()
    plain = timm.create_model("test_convnext", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    plain.load_state_dict({k: v for k, v in model.encoder.state_dict().items() if "image_" not in k}, strict=True)
    images = random_images(70, 45)
    with torch.no_grad():
        maps, whole = model.encoder(images), plain(F.pad(images, (0, 19, 0, 26)))
        assert all(torch.equal(a, b[:, :, : a.shape[2], : a.shape[3]]) for a, b in zip(maps, whole, strict=True))
        even = images[:, :, :32, :32]
        assert all(torch.equal(a, b) for a, b in zip(model.encoder(even), plain(even), strict=True))
        assert model(images).shape == (2, 19, 18, 12)


def test_an_encoder_is_tried_without_a_trace():
    """Weights, statistics and the numbers drawn are those of a network that was not tried."""
    torch.manual_seed(0)
    encoder_module._find_way.cache_clear()
    encoder, _ = build_encoder("resnet10t", strides=STRIDES, drop_path=0.0, checkpointing=False)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    plain = timm.create_model("resnet10t", features_only=True, out_indices=(-4, -3, -2, -1))
    assert torch.equal(drawn, torch.rand(3)) and encoder.training
    ours, theirs = encoder.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
