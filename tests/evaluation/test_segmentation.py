import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import CITYSCAPES, IGNORE_INDEX, SYNTHIA_13, SYNTHIA_16, classes_from_json
from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.scores import Metrics
from pgpc.evaluation.segmentation import evaluate, predict, window_starts
from pgpc.models import ModelConfig, build_model

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


def test_the_means_of_synthia_by_hand():
    """Wall, fence and pole are taken for road: 0, and road is 1 of 4. All others are right, until truck is taken for
    car, which counts against car although truck is in neither mean."""
    assert [CITYSCAPES.names[k] for k in range(19) if k not in SYNTHIA_16] == ["terrain", "truck", "train"]
    assert [CITYSCAPES.names[k] for k in SYNTHIA_16 if k not in SYNTHIA_13] == ["wall", "fence", "pole"]
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)
    confusion = np.zeros((19, 19), dtype=np.int64)
    for label in range(19):
        if label in (9, 14, 16):
            confusion[label, label] = 7
        elif label in (3, 4, 5):
            confusion[label, 0] = 1
        else:
            confusion[label, label] = 1
    metrics = Metrics(confusion)
    assert metrics.means["mIoU"] == pytest.approx((25 + 12 * 100 + 3 * 100) / 19)
    assert metrics.means["mIoU16"] == pytest.approx((25 + 12 * 100) / 16)
    assert metrics.means["mIoU13"] == pytest.approx((25 + 12 * 100) / 13)
    confusion[14, 13] = 3  # car is now 1 of 4, truck 7 of 10
    metrics = Metrics(confusion)
    assert metrics.means["mIoU"] == pytest.approx((25 + 11 * 100 + 25 + 2 * 100 + 70) / 19)
    assert metrics.means["mIoU16"] == pytest.approx((25 + 11 * 100 + 25) / 16)
    confusion[[6, 7], [6, 7]] = 0  # classes that are nowhere leave the means
    assert Metrics(confusion).means["mIoU13"] == pytest.approx((25 + 9 * 100 + 25) / 11)


def test_other_classes_have_one_mean():
    assert Metrics(np.eye(3, dtype=np.int64), THREE).means == {"mIoU": 100.0}


def test_accuracy_by_hand():
    metrics = Metrics(np.array([[3, 1, 0], [1, 2, 3], [0, 0, 0]]), THREE)
    assert metrics.accuracy[:2].tolist() == pytest.approx([75.0, 100 / 3])
    assert np.isnan(metrics.accuracy[2])
    assert metrics.pixel_accuracy == pytest.approx(50.0)
    assert metrics.pixels.tolist() == [4, 6, 0]


def test_nothing_labeled_has_no_score(recwarn):
    metrics = Metrics(np.zeros((3, 3), dtype=np.int64), THREE)
    assert all(map(np.isnan, (metrics.miou, metrics.pixel_accuracy, *metrics.accuracy)))
    assert not recwarn.list


def plain_scores(labels, predictions, num_classes):
    """IoU and accuracy per class, pixel by pixel over all images; NaN where there is nothing to divide by."""
    label, predicted = (np.concatenate([ids.ravel() for ids in images]) for images in (labels, predictions))
    label, predicted = label[label != IGNORE_INDEX], predicted[label != IGNORE_INDEX]
    iou, accuracy = [], []
    for c in range(num_classes):
        both = np.count_nonzero((label == c) & (predicted == c))
        either, labeled = np.count_nonzero((label == c) | (predicted == c)), np.count_nonzero(label == c)
        iou.append(100 * both / either if either else np.nan)
        accuracy.append(100 * both / labeled if labeled else np.nan)
    return iou, accuracy


@pytest.mark.parametrize("window", [None, 32])
def test_equals_a_plain_mean_of_iou_at_native_size(window):
    """Odd sizes, larger and smaller than the image that is segmented; ignored pixels; class 3 is never a label, class 4
    neither label nor prediction; one image without any label."""
    rng = np.random.default_rng(0)
    evaluation = EvaluationConfig() if window is None else windows(window, 24)
    samples, predictions = [], []
    for size, ids in (((47, 95), [0, 1, 2, 255]), ((33, 61), [0, 1]), ((20, 31), [255]), ((101, 7), [0, 2, 255])):
        image = torch.from_numpy(rng.standard_normal((1, 5, 36, 68))).float()
        image[:, 4] = -10
        samples.append((image, rng.choice(ids, size=size).astype(np.uint8), "name"))
        total, count = torch.zeros(1, 5, 36, 68), torch.zeros(36, 68)
        for top in (0,) if window is None else (0, 4):
            for left in (0,) if window is None else (0, 24, 36):
                part = image[:, :, top : top + (window or 36), left : left + (window or 68)]
                logits = nn.functional.interpolate(part[:, :, ::4, ::4], part.shape[2:], mode="bilinear")
                total[:, :, top : top + part.shape[2], left : left + part.shape[3]] += logits
                count[top : top + part.shape[2], left : left + part.shape[3]] += 1
        predictions.append(nn.functional.interpolate(total / count, size, mode="bilinear")[0].argmax(0).numpy())
    metrics = evaluate(Paints(), samples, classes_from_json(None, 5), evaluation=evaluation)
    labels = [label for _, label, _ in samples]
    iou, accuracy = plain_scores(labels, predictions, 5)
    np.testing.assert_allclose(metrics.iou, iou, rtol=1e-12)
    np.testing.assert_allclose(metrics.accuracy, accuracy, rtol=1e-12)
    assert metrics.miou == pytest.approx(np.nanmean(iou), rel=1e-12)
    assert metrics.confusion.sum() == sum((label != IGNORE_INDEX).sum() for label in labels)
    assert iou[3] == 0 and np.isnan(iou[4])


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


@pytest.mark.parametrize(("label", "classes"), [(2, TWO), (254, THREE), (0, TWO)])
def test_ids_that_are_no_class_are_refused(label, classes):
    """Of the labels, and in the last case of a model with more classes."""
    image = torch.zeros(1, 3, 32, 32)
    image[:, 2] = 1
    labels = np.full((32, 32), label, dtype=np.uint8)
    with pytest.raises(ValueError, match="must be ids below .* those of 'street 7' have others"):
        evaluate(Paints(), [(image, labels, "street 7")], classes)


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
