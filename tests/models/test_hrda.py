from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pgpc.models import HRDA, ModelConfig, build_model, draw_detail_box


def _build(side: int = 32, **options) -> HRDA:
    torch.manual_seed(0)
    fields = {"architecture": "hrda", "encoder": "mit_b0", "head_channels": 8, "num_classes": 5, "drop_path": 0}
    return build_model(ModelConfig(**{**fields, "detail_crop": side, **options}))


def _spread(model: HRDA) -> HRDA:
    """Makes logits and attention differ from class to class and from pixel to pixel, as those of a trained network."""
    for head in (model.decode_head.head, model.decode_head.scale_attention):
        torch.nn.init.normal_(head.conv_seg.weight, std=1.0)
    return model


def _images(*size: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network(golden) -> HRDA:
    model = build_model(
        ModelConfig(architecture="hrda", encoder="mit_b0", detail_crop=64, dropout=0, drop_path=0, num_classes=19)
    )
    entries = golden.hrda.checkpoint()
    model.load_state_dict({name.replace("backbone.", "encoder."): value for name, value in entries.items()})
    return model.eval()


@pytest.mark.slow
def test_golden_features_and_logits(network, golden):
    images = golden.images("hrda_b0", (1, 3, 128, 128))
    with torch.no_grad():
        features = network.encoder(images)
        logits = network(images)
    for name, tensor in zip(("stage1", "stage2", "stage3", "stage4", "logits"), [*features, logits], strict=True):
        difference = abs(golden.thin(name, tensor) - golden.hrda.arrays[name]).max()
        assert difference < 1e-4, f"{name} differs by {difference}"
    labels = F.interpolate(logits, size=(128, 128), mode="bilinear", align_corners=False).argmax(1)
    assert (labels.numpy() == golden.hrda.arrays["argmax"]).all()


@pytest.mark.slow
def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = build_model(ModelConfig(architecture="hrda", detail_crop=512))
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in model.decode_head.named_children()}
    assert count == {"head": 3_712_275, "scale_attention": 530_707}
    assert sum(p.numel() for p in model.parameters()) == 85_155_283 + 530_707


def test_names_are_those_of_released_checkpoints(golden):
    names = {name.replace("encoder.", "backbone.") for name in _build().state_dict()}
    assert names == set(golden.hrda.shapes)


def _naive_double(x: np.ndarray) -> np.ndarray:
    """Bilinear doubling with pixel centers at half integers, one output pixel after the other."""
    h, w = x.shape
    out = np.zeros((2 * h, 2 * w))
    for i in range(2 * h):
        for j in range(2 * w):
            y, z = max((i + 0.5) / 2 - 0.5, 0), max((j + 0.5) / 2 - 0.5, 0)
            y0, z0 = int(y), int(z)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            upper = x[y0, z0] * (z0 + 1 - z) + x[y0, z1] * (z - z0)
            lower = x[y1, z0] * (z0 + 1 - z) + x[y1, z1] * (z - z0)
            out[i, j] = upper * (y0 + 1 - y) + lower * (y - y0)
    return out


@pytest.mark.parametrize("box", [(0, 0), (24, 8), (32, 64)])
def test_fusion_with_a_box_equals_the_written_out_form(box):
    model = _spread(_build()).double().eval()
    images = _images(64, 96, batch=1).double()
    top, left = box
    with torch.no_grad():
        logits, detail = model.decode(model.encode(images), images, box)
        half = images.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))  # bilinear x 0.5 is the mean of 2 x 2 pixels
        features = model.encoder(half)
        low = model.decode_head.head(features)[0].numpy()
        attention = 1 / (1 + np.exp(-model.decode_head.scale_attention(features)[0].numpy()))
        high = model.decode_head.head(model.encoder(images[:, :, top : top + 32, left : left + 32]))[0].numpy()
    assert low.shape == (5, 8, 12)
    np.testing.assert_allclose(detail[0].numpy(), high, atol=1e-12)
    for c in range(5):
        a, lower = np.zeros((8, 12)), np.zeros((8, 12))
        for i in range(8):
            for j in range(12):
                inside = top <= 8 * i < top + 32 and left <= 8 * j < left + 32
                a[i, j] = attention[c, i, j] if inside else 0
                lower[i, j] = (1 - a[i, j]) * low[c, i, j]
        pasted = np.zeros((16, 24))
        pasted[top // 4 : top // 4 + 8, left // 4 : left // 4 + 8] = high[c]
        np.testing.assert_allclose(logits[0, c].numpy(), _naive_double(a) * pasted + _naive_double(lower), atol=1e-10)


def test_far_from_the_box_the_context_alone_decides():
    model = _spread(_build()).eval()
    images = _images(96, 96)
    with torch.no_grad():
        features = model.encode(images)
        low = F.interpolate(model.decode_head.head(features), scale_factor=2, mode="bilinear", align_corners=False)
        logits, _ = model.decode(features, images, (0, 64))
    torch.testing.assert_close(logits[:, :, 9:], low[:, :, 9:])
    torch.testing.assert_close(logits[:, :, :, :15], low[:, :, :, :15])
    assert not torch.allclose(logits[:, :, :8, 16:], low[:, :, :8, 16:], atol=1e-3)


@pytest.mark.parametrize(
    ("extent", "side", "starts"),
    [
        (1024, 512, [0, 256, 512]),
        (128, 64, [0, 32, 64]),
        (88, 32, [0, 16, 32, 48, 56]),  # the last is shifted inwards
        (72, 64, [0, 8]),
        (64, 64, [0]),
        (64, 96, [0]),  # one smaller crop
    ],
)
def test_crops_that_slide_over_the_image(extent, side, starts):
    assert _build(side)._starts(extent) == starts


@pytest.mark.slow
@pytest.mark.parametrize(("size", "side"), [((64, 88), 32), ((64, 72), 64), ((72, 64), 96), ((70, 65), 48)])
def test_sliding_equals_one_crop_after_the_other(size, side):
    model = _spread(_build(side)).double().eval()
    images = _images(*size).double()
    rounded = tuple(-(-n // 8) * 8 for n in size)
    padded = torch.zeros(2, 3, *rounded, dtype=torch.float64)
    padded[:, :, : size[0], : size[1]] = images
    cells = [n // 4 for n in rounded]
    total, count = torch.zeros(2, 5, *cells, dtype=torch.float64), torch.zeros(*cells)
    with torch.no_grad():
        logits, detail = model.decode(model.encode(images), images)
        features = model.encoder(F.avg_pool2d(padded, 2))
        for y in model._starts(rounded[0]):
            for x in model._starts(rounded[1]):
                part = model.decode_head.head(model.encoder(padded[:, :, y : y + side, x : x + side]))
                place = np.s_[..., y // 4 : y // 4 + part.shape[2], x // 4 : x // 4 + part.shape[3]]
                total[place] += part
                count[place] += 1
        a = model.decode_head.scale_attention(features).sigmoid()
        lower = (1 - a) * model.decode_head.head(features)
        a, lower = (F.interpolate(t, scale_factor=2, mode="bilinear", align_corners=False) for t in (a, lower))
    expected = (a * (total / count) + lower)[:, :, : -(-size[0] // 4), : -(-size[1] // 4)]
    assert detail is None
    torch.testing.assert_close(logits, expected)
    with torch.no_grad():
        torch.testing.assert_close(model(images), logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corners", "size", "num"),
    [
        ([(0, 0), (0, 32), (0, 64)], (64, 64), 21),  # the proportions of Cityscapes: 27 crops, 6 of them twice
        ([(0, 0), (8, 40)], (64, 64), 18),
        ([(0, 0), (0, 20)], (68, 68), 0),  # padded, and so not shared
    ],
)
def test_windows_share_their_crops(corners, size, num):
    model, image = _spread(_build(32)).double().eval(), _images(72, 128, batch=1).double()
    with torch.no_grad():
        expected = model(torch.cat([image[:, :, y : y + size[0], x : x + size[1]] for y, x in corners]))
        known = {}
        first, rest = (model.segment_windows(image, part, size, known) for part in (corners[:1], corners[1:]))
    torch.testing.assert_close(torch.cat([first, rest]), expected)
    assert len(known) == num


def test_every_parameter_learns_from_a_pass_with_a_box():
    model = _build().train()
    images = _images(64, 64)
    logits, detail = model.decode(model.encode(images), images, (8, 24))
    assert (logits.shape, detail.shape) == ((2, 5, 16, 16), (2, 5, 8, 8))
    (logits.mean() + detail.mean()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_context_is_the_padded_image_at_half_size():
    context = _build().context(torch.ones(1, 3, 66, 80))
    assert context.shape == (1, 3, 36, 40)
    assert (context[:, :, :33] == 1).all()
    assert (context[:, :, 33:] == 0).all()


def test_boxes_cover_all_places_but_the_very_last():
    rng = np.random.default_rng(0)
    boxes = [draw_detail_box(rng, (96, 64), 32) for _ in range(300)]
    assert {top for top, _ in boxes} == set(range(0, 64, 8))
    assert {left for _, left in boxes} == set(range(0, 32, 8))
    assert draw_detail_box(rng, (32, 38), 32) == (0, 0)
    with pytest.raises(ValueError, match=r"detail crop of 32 pixels, but got \(64, 24\)"):
        draw_detail_box(rng, (64, 24), 32)


@pytest.mark.parametrize("box", [(4, 0), (0, 40), (-8, 0)])
def test_refuses_boxes_off_the_grid_or_the_image(box):
    model, images = _build(), _images(64, 64)
    with pytest.raises(ValueError, match=r"multiples of 8.*side 32 inside the image of \(64, 64\)"):
        model.decode(model.encode(images), images, box)


def test_refuses_images_whose_half_is_too_small_for_the_encoder():
    with pytest.raises(ValueError, match="at least 64"):
        _build()(_images(64, 63))


@pytest.mark.parametrize("box", [None, (8, 16)])
def test_bfloat16(box):
    model, images = _build().eval(), _images(64, 64)
    with torch.no_grad():
        expected = model.decode(model.encode(images), images, box).logits
        with torch.autocast("cpu", torch.bfloat16):
            low = model.decode(model.encode(images), images, box).logits
    assert low.dtype == torch.float32  # scales are fused, and crops averaged, in full precision
    torch.testing.assert_close(low, expected, atol=0.02, rtol=0.1)
