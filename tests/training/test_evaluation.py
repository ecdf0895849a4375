import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.data.config import EvaluationConfig
from pgpc.training.evaluation import Metrics, evaluate, predict, window_starts

TWO, THREE = (classes_from_json(None, n) for n in (2, 3))


class Paints(nn.Module):
    """A model whose logits are its input's channels, at stride 4."""

    def __init__(self, align_corners=False):
        super().__init__()
        self.align_corners = align_corners
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images[:, :, ::4, ::4]


def test_iou_by_hand():
    """Class 0: 3 of 5; class 1: 2 of 4; class 2 is nowhere."""
    metrics = Metrics(np.array([[3, 1, 0], [1, 2, 0], [0, 0, 0]]), THREE)
    assert metrics.iou[:2].tolist() == pytest.approx([60.0, 50.0])
    assert np.isnan(metrics.iou[2])
    assert metrics.miou == pytest.approx(55.0)
    assert "IoU/class 2" not in metrics.as_dict()


def test_equals_a_plain_confusion_matrix_at_native_size():
    rng = np.random.default_rng(0)
    samples, labels, predictions = [], [], []
    for _ in range(3):
        image = torch.from_numpy(rng.standard_normal((1, 3, 32, 64))).float()
        label = rng.choice([0, 1, 2, IGNORE_INDEX], size=(48, 96)).astype(np.uint8)
        samples.append((image, label, "name"))
        logits = nn.functional.interpolate(image[:, :, ::4, ::4], (32, 64), mode="bilinear")
        predictions.append(nn.functional.interpolate(logits, (48, 96), mode="bilinear")[0].argmax(0).numpy())
        labels.append(label)
    metrics = evaluate(Paints(), samples, THREE)
    labels, predictions = np.stack(labels), np.stack(predictions)
    for c in range(3):
        counted = labels != IGNORE_INDEX
        both = ((labels == c) & (predictions == c)).sum()
        either = (((labels == c) | (predictions == c)) & counted).sum()
        assert metrics.iou[c] == pytest.approx(100 * both / either)


class Identity(Paints):
    """Pointwise: logits are the channels at full size."""

    def forward(self, images):
        self.shapes = [*getattr(self, "shapes", []), tuple(images.shape)]
        return images


class Counts(Paints):
    """Two classes: the first has the mean of what the model is shown, the second a constant."""

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, images):
        mean = images.mean((1, 2, 3)).view(-1, 1, 1, 1).expand(-1, 1, *images.shape[2:])
        return torch.cat([mean, torch.full_like(mean, self.constant)], dim=1)


def windows(window, stride, batch=1):
    return EvaluationConfig(window=window, window_stride=stride, window_batch=batch)


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
    for constant, expected in ((1.4, "0000"), (1.6, "1000"), (4.4, "1000"), (4.6, "1100"), (5.9, "1100"),
                               (6.1, "1101"), (6.7, "1101"), (6.8, "1111")):  # fmt: skip
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


def test_scores_are_those_of_the_windows():
    """The constant wins by hand in the first column of 32 of 128."""
    image = torch.tensor([0.0, 3.0, 12.0, 0.0]).repeat_interleave(32).expand(1, 3, 64, 128)
    label = np.ones((64, 128), dtype=np.uint8)
    metrics = evaluate(Counts(1.6), [(image, label, "name")], TWO, evaluation=windows(64, 32))
    assert metrics.confusion.tolist() == [[0, 0], [64 * 96, 64 * 32]]
    assert evaluate(Counts(1.6), [(image, label, "name")], TWO).confusion.tolist() == [[0, 0], [64 * 128, 0]]


def test_leaves_the_model_in_its_mode():
    model = Paints().train()
    evaluate(model, [], THREE)
    assert model.training
