from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pgpc.evaluation.segmentation import predict
from pgpc.models import DeepLabV2, ModelConfig, build_model
from pgpc.models.deeplab import DeepLabHead


def _build(**options) -> DeepLabV2:
    torch.manual_seed(0)
    fields = {"architecture": "deeplabv2", "encoder": "resnet18", "num_classes": 5, "drop_path": 0}
    return build_model(ModelConfig(**{**fields, **options}))


def _images(*size: int) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(64, 96), (65, 79)])
def test_maps_and_logits(size):
    model = _build().eval()
    images = _images(*size)
    with torch.no_grad():
        features = model.encode(images)
        logits = model(images)
        coarse = model.decode_head(features[-1])
    sizes = [tuple(-(-n // s) for n in size) for s in (4, 8, 8, 8)]
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, *hw) for c, hw in zip((64, 128, 256, 512), sizes, strict=True)
    ]
    assert coarse.shape == (2, 5, *sizes[-1])
    assert torch.equal(model.segment(images), coarse)  # what losses and scores resize, once
    torch.testing.assert_close(logits, F.interpolate(coarse, size=sizes[0], mode="bilinear", align_corners=True))
    assert model.align_corners
    assert model.projected(features)[0] is features[-1]
    assert len(model.projected(features)) == 1
    assert model.projected_channels == (512,)


def test_predictions_are_resized_once_from_stride_8():
    model, image = _build().eval(), _images(64, 96)[:1]
    with torch.no_grad():
        expected = F.interpolate(model.segment(image), size=(64, 96), mode="bilinear", align_corners=True)[0].argmax(0)
    assert torch.equal(predict(model, image, (64, 96)), expected)


def test_logits_are_the_sum_of_four_dilated_classifiers():
    torch.manual_seed(0)
    head = DeepLabHead(3, 2).double()
    for classifier in head.classifiers:
        torch.nn.init.normal_(classifier.bias)
    x = torch.randn(1, 3, 20, 23, dtype=torch.float64)
    padded = F.pad(x, (24, 24, 24, 24))
    expected = torch.zeros(2, 20, 23, dtype=torch.float64)
    for dilation, classifier in zip((6, 12, 18, 24), head.classifiers, strict=True):
        expected += classifier.bias[:, None, None]
        for i in range(3):
            for j in range(3):
                y, z = 24 + dilation * (i - 1), 24 + dilation * (j - 1)
                view = padded[0, :, y : y + 20, z : z + 23]
                expected += torch.einsum("oc,chw->ohw", classifier.weight[:, :, i, j], view)
    torch.testing.assert_close(head(x)[0], expected)


def test_initial_classifiers():
    for classifier in _build(num_classes=19).decode_head.classifiers:
        assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not classifier.bias.any()


def test_the_papers_encoder():
    with torch.device("meta"):
        model = _build(encoder="resnet101", num_classes=19)
    assert model.encoder_channels == (256, 512, 1024, 2048)
    # ResNet-101 has 44,549,160 parameters, 2,049,000 of them in its classifier.
    assert sum(p.numel() for p in model.encoder.parameters()) == 44_549_160 - 2_049_000
    assert sum(p.numel() for p in model.decode_head.parameters()) == 4 * (9 * 2048 * 19 + 19)
    stem = model.encoder.conv1
    assert (stem.kernel_size, stem.stride) == ((7, 7), (2, 2))
    for name, first, others in (("layer2", 1, 1), ("layer3", 1, 2), ("layer4", 2, 4)):
        blocks = getattr(model.encoder, name)
        # The first dilated block keeps the dilation that its input was computed with.
        assert [block.conv2.dilation[0] for block in blocks] == [first] + [others] * (len(blocks) - 1)
        assert blocks[0].conv2.stride == ((2, 2) if name == "layer2" else (1, 1))


def test_every_parameter_learns():
    model = _build().train()
    model(_images(32, 32)).mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bfloat16():
    model = _build().eval()
    images = _images(32, 48)
    with torch.no_grad():
        expected = model(images)
        with torch.autocast("cpu", torch.bfloat16):
            low = model(images)
    torch.testing.assert_close(low.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("mit_b0", "can be dilated .*to end at stride 8, but"), ("swin_tiny_patch4_window7_224", "output_stride")],
)
def test_refuses_encoders_that_cannot_be_dilated(encoder, message):
    with torch.device("meta"), pytest.raises(ValueError, match=rf"model\.encoder .*{message}"):
        _build(encoder=encoder)
