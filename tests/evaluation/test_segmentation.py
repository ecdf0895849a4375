import numpy as np
import pytest
import torch
from torch import nn

from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.segmentation import logits, plain_logits, predict, window_starts
from pgpc.models import ModelConfig, build_model
from tests.helpers.models import Colors, Counts, Identity, Paints, windows


@pytest.mark.parametrize("num_classes", [2, 5, 19])
@pytest.mark.parametrize("size", [(333, 517), (91, 61), (64, 128)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_one_class_at_a_time_is_all_of_them_at_once(num_classes, size, memory_format):
    logits = torch.randn(1, num_classes, 64, 128, generator=torch.Generator().manual_seed(0))
    logits[:, -1] = logits[:, 0]  # of equals the first

    class Gives(Paints):
        def forward(self, images):
            return logits.to(memory_format=memory_format)

    # Where both sides together have at most 128 pixels, PyTorch itself rounds equal channels differently.
    expected = nn.functional.interpolate(logits, size, mode="bilinear")[0].argmax(0)
    predicted = predict(Gives(), torch.zeros(1, 3, 64, 128), size)
    assert predicted.dtype == torch.int64
    assert torch.equal(predicted, expected)


@pytest.mark.parametrize(
    "model",
    [
        {"encoder": "mit_b0", "head_channels": 8},
        {"architecture": "hrda", "encoder": "mit_b0", "head_channels": 8, "detail_crop": 64},
        {"architecture": "deeplabv2", "encoder": "test_resnet"},
    ],
    ids=["daformer", "hrda", "deeplabv2"],
)
@pytest.mark.parametrize("evaluation", [EvaluationConfig(), EvaluationConfig(window=128, window_stride=96)])
def test_images_of_any_size_are_segmented(model, evaluation):
    """Odd sides; an image lower than the window; a result larger than the image, and smaller."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(num_classes=5, **model)).eval()
    for height, width, size in ((133, 217, (266, 431)), (101, 163, (37, 51))):
        predicted = predict(model, torch.randn(1, 3, height, width), size, evaluation=evaluation)
        assert predicted.shape == size
        assert predicted.min() >= 0
        assert predicted.max() < 5


def test_published_windows():
    """Windows of 1024 every 512: 3 on Cityscapes' images, 6 on those of ACDC and Dark Zurich."""
    assert window_starts(2048, 1024, 512) == [0, 512, 1024]
    assert window_starts(1024, 1024, 512) == [0]
    assert window_starts(1920, 1024, 512) == [0, 512, 896]
    assert window_starts(1080, 1024, 512) == [0, 56]


def test_windows_cover_every_pixel_and_nothing_else():
    rng = np.random.default_rng(0)
    for _ in range(500):
        length, window = int(rng.integers(1, 200)), int(rng.integers(1, 100))
        stride = int(rng.integers(1, window + 1))
        starts = window_starts(length, window, stride)
        assert starts[0] == 0 and max(starts) + min(window, length) == length
        steps = np.diff(starts)
        assert (steps > 0).all() and (steps <= stride).all() and (steps[:-1] == stride).all()
        shown = np.zeros(length, dtype=bool)
        for start in starts:
            shown[start : start + window] = True
        assert shown.all()


def test_averages_by_hand():
    """Columns of 32 pixels with 0, 3, 12, 0: windows of 64 every 32 have means 1.5, 7.5, 6. The columns' logits are
    1.5, (1.5 + 7.5) / 2 = 4.5, (7.5 + 6) / 2 = 6.75 and 6."""
    image = torch.tensor([0.0, 3.0, 12.0, 0.0]).repeat_interleave(32).expand(1, 3, 64, 128)
    for constant, expected in (
        (1.4, "0000"),
        (1.6, "1000"),
        (4.4, "1000"),
        (4.6, "1100"),
        (5.9, "1100"),
        (6.1, "1101"),
        (6.7, "1101"),
        (6.8, "1111"),
    ):
        predicted = predict(Counts(constant), image, (64, 128), evaluation=windows(64, 32))
        assert "".join(str(int(c)) for c in predicted[0, ::32]) == expected
        assert (predicted == predicted[0, ::32].repeat_interleave(32)).all()


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
@pytest.mark.parametrize(("height", "width"), [(96, 160), (97, 75), (33, 200), (40, 40)])
def test_windows_change_nothing_for_a_pointwise_model(height, width, batch):
    image = torch.randn(1, 5, height, width, generator=torch.Generator().manual_seed(0))
    model = Identity()
    predicted = predict(model, image, (50, 90), evaluation=windows(64, 48, batch))
    assert torch.equal(predicted, predict(Identity(), image, (50, 90)))
    shown = len(window_starts(height, 64, 48)) * len(window_starts(width, 64, 48))
    assert sum(shape[0] for shape in model.shapes) == shown
    assert all(shape[0] <= batch and shape[2:] == (min(height, 64), min(width, 64)) for shape in model.shapes)


def test_one_window_is_the_whole_image():
    image = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    for size in ((48, 64), (37, 70)):
        assert torch.equal(predict(Paints(), image, size, evaluation=windows(64, 64)), predict(Paints(), image, size))


def test_equals_a_plain_loop_over_windows():
    image = torch.randn(1, 3, 80, 112, generator=torch.Generator().manual_seed(0))
    total, count = torch.zeros(3, 80, 112), torch.zeros(80, 112)
    for top in (0, 16):
        for left in (0, 40, 48):
            part = image[:, :, top : top + 64, left : left + 64]
            logits = nn.functional.interpolate(part[:, :, ::4, ::4], (64, 64), mode="bilinear")
            total[:, top : top + 64, left : left + 64] += logits[0]
            count[top : top + 64, left : left + 64] += 1
    native = nn.functional.interpolate((total / count)[None], (100, 140), mode="bilinear")[0].argmax(0)
    predicted = predict(Paints(), image, (100, 140), evaluation=windows(64, 40, 4))
    assert (predicted == native).float().mean() > 0.999  # but for ties within rounding


@pytest.mark.parametrize("evaluation", [EvaluationConfig(), windows(64, 32)])
def test_logits_are_resized_as_the_model_says(evaluation):
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    predictions = []
    for aligned in (False, True):
        logits = image[:, :, ::4, ::4]
        for size in ((64, 64), (90, 150)):
            logits = nn.functional.interpolate(logits, size, mode="bilinear", align_corners=aligned)
        predictions.append(predict(Paints(aligned), image, (90, 150), evaluation=evaluation))
        assert torch.equal(predictions[-1], logits[0].argmax(0))
    assert not torch.equal(*predictions)


def probabilities(model, image, **options):
    return logits(model, image, evaluation=EvaluationConfig(**options)).softmax(dim=1)


@pytest.mark.parametrize("model", [Colors(), Paints()])
def test_probabilities_of_a_mirrored_copy_are_averaged(model):
    """As done by hand; a network that looks to one side finds others in the copy."""
    image = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    plain, mirrored = (plain_logits(model, i).softmax(dim=1) for i in (image, image.flip(3)))
    found = probabilities(model, image, flip=True)
    torch.testing.assert_close(found, (plain + mirrored.flip(3)) / 2)
    assert not torch.allclose(found, plain)
    torch.testing.assert_close(found, probabilities(model, image.flip(3), flip=True).flip(3))


def test_probabilities_of_scales_are_averaged():
    model, image = Colors(), torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    larger = nn.functional.interpolate(image, (48, 96), mode="bilinear")
    resized = nn.functional.interpolate(plain_logits(model, larger), (32, 64), mode="bilinear").softmax(dim=1)
    expected = (plain_logits(model, image).softmax(dim=1) + resized) / 2
    torch.testing.assert_close(probabilities(model, image, scales=(1.0, 1.5)), expected)


@pytest.mark.parametrize("evaluation", [EvaluationConfig(scales=(1.0,)), windows(32, 24)])
def test_the_own_size_alone_is_no_augmentation_to_the_last_bit(evaluation):
    model, image = Colors(), torch.randn(1, 3, 64, 64)
    assert not evaluation.augments
    assert torch.equal(logits(model, image, evaluation=evaluation), plain_logits(model, image, evaluation=evaluation))


def test_certainty_keeps_logarithms_finite():
    image = 500 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = logits(Paints(), image, evaluation=EvaluationConfig(flip=True))
    assert found.isfinite().all()


def test_a_scale_that_the_network_cannot_take_is_refused():
    model = build_model(ModelConfig(encoder="mit_b0", head_channels=8)).eval()
    with pytest.raises(ValueError, match=r"evaluation.scales must leave at least 32 pixels of the sides \(64, 128\)"):
        predict(model, torch.zeros(1, 3, 64, 128), (64, 128), evaluation=EvaluationConfig(scales=(0.25, 1.0)))
